"""The examples in Python, each run: with stand-ins where it needs a camera, a GPU or a package that is not here."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image as Pillow

from rvm_trt import Engine, MattingSession

Image = npt.NDArray[np.uint8]
Example = Callable[[str], dict[str, Any]]


def mattes(engine: Engine, frames: list[Image], **options: Any) -> list[dict[str, Image]]:
    with MattingSession(engine, **options) as session:
        return [session.process(frame).copy() for frame in frames]


def test_matte_frames_cuts_a_photograph_out(
    example: Example,
    engine: Engine,
    frames: list[Image],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Pillow.fromarray(frames[0]).save("photo.png")
    example("matte_frames.py")["main"]("photo.png")
    wanted = mattes(engine, [frames[0]] * 4, outputs=("rgba",))[-1]["rgba"]
    np.testing.assert_array_equal(np.asarray(Pillow.open("cut-out.png")), wanted)
    assert "of the picture is person" in capsys.readouterr().out


def test_swap_background_mattes_every_frame(
    example: Example, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    example("swap_background.py")["main"](str(clip))
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == [
        f"frame {index}" for index in range(5)
    ]


def test_the_pyav_loop_keeps_every_frame_and_its_time(
    example: Example, engine: Engine, frames: list[Image], clip: Path, tmp_path: Path
) -> None:
    example("pyav_loop.py")["main"](str(clip), str(tmp_path / "out.mp4"))
    with av.open(str(tmp_path / "out.mp4")) as video:
        decoded = [
            (frame.pts * frame.time_base, frame.to_ndarray(format="rgb24")) for frame in video.decode(video=0)
        ]
    with av.open(str(clip)) as video:
        times = [frame.pts * frame.time_base for frame in video.decode(video=0)]
    assert [time for time, _ in decoded] == pytest.approx(times, abs=1e-3)
    wanted = [matte["composite"] for matte in mattes(engine, frames, background=(120, 255, 155))]
    for index, (_, picture) in enumerate(decoded):
        losses = [np.abs(picture.astype(int) - image).mean() for image in wanted]
        assert np.argmin(losses) == index
        assert losses[index] < 20  # the encoder's


class StandInCamera:
    """``pyvirtualcam.Camera``: what was sent, copied as the real one does."""

    def __init__(self, width: int, height: int, fps: float) -> None:
        self.size, self.device, self.sent = (width, height, fps), "/dev/video9", list[Image]()

    def send(self, frame: Image) -> None:
        self.sent.append(frame.copy())

    def __enter__(self) -> StandInCamera:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def test_the_virtual_camera_gets_every_composite(
    example: Example,
    engine: Engine,
    frames: list[Image],
    clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cameras: list[StandInCamera] = []
    module = ModuleType("pyvirtualcam")
    module.Camera = lambda *size: cameras.append(StandInCamera(*size)) or cameras[-1]  # type: ignore[attr-defined, func-returns-value]
    monkeypatch.setitem(sys.modules, "pyvirtualcam", module)
    beach = frames[4]
    Pillow.fromarray(beach).save(tmp_path / "beach.png")
    example("virtual_camera.py")["main"](str(tmp_path / "beach.png"), str(clip))
    (camera,) = cameras
    assert camera.size == (160, 96, 30)
    wanted = [matte["composite"] for matte in mattes(engine, frames, background=beach)]
    np.testing.assert_array_equal(camera.sent, wanted)
    assert "Choose /dev/video9" in capsys.readouterr().out


def test_without_pyvirtualcam_the_example_says_what_to_install(
    example: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    with pytest.raises(SystemExit, match="pip install pyvirtualcam"):
        example("virtual_camera.py")["main"]("beach.png")


def test_torch_blends_what_the_session_wrote(example: Example, engine: Engine, frames: list[Image]) -> None:
    background = torch.from_numpy(frames[4].copy())
    tensors = torch.stack([torch.from_numpy(frame) for frame in frames])
    with MattingSession(engine, outputs=("pha", "fgr")) as session:
        pictures = list(example("torch_frames.py")["blend"](session, tensors, background))
    for picture, matte in zip(pictures, mattes(engine, frames, background=frames[4]), strict=True):
        difference = np.abs(picture.numpy().astype(int) - matte["composite"])
        assert difference.max() <= 2  # alpha and foreground were rounded before PyTorch blended them


def test_torch_frames_runs_on_a_clip(
    example: Example, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    example("torch_frames.py")["main"](str(clip))
    assert len(capsys.readouterr().out.splitlines()) == 5


class StandInGpu:
    """``cuda.core.Device`` and ``PyNvVideoCodec`` for one clip: calls in order, frames as tokens."""

    def __init__(self) -> None:
        self.log: list[tuple[Any, ...]] = []
        self.stream = SimpleNamespace(handle=0x70, sync=lambda: self.log.append(("sync",)))
        self.context = SimpleNamespace(handle=0xC0)
        self.options: dict[str, dict[str, Any]] = {}
        self.OutputColorType = SimpleNamespace(RGB="rgb")

    def __call__(self, ordinal: int) -> StandInGpu:
        assert ordinal == 0
        return self

    def set_current(self) -> None:
        pass

    def create_stream(self) -> Any:
        return self.stream

    def allocate(self, size: int, *, stream: Any) -> Any:
        assert (size, stream) == (160 * 96 * 3 // 2, self.stream)
        return SimpleNamespace(handle=0x100000, fill=self._fill)

    def CreateDemuxer(self, *, filename: str) -> Any:  # noqa: N802
        class Demuxer(list[str]):
            def Width(self) -> int:  # noqa: N802
                return 160

            def Height(self) -> int:  # noqa: N802
                return 96

            def GetNvCodecId(self) -> str:  # noqa: N802
                return "h264"

        return Demuxer([f"{filename} 0", f"{filename} 1"])

    def CreateDecoder(self, **options: Any) -> Any:  # noqa: N802
        self.options["decoder"] = options
        return SimpleNamespace(Decode=lambda packet: [f"{packet} a", f"{packet} b"])

    def CreateEncoder(  # noqa: N802
        self, width: int, height: int, form: str, from_host: bool, **options: Any
    ) -> Any:
        assert (width, height, form, from_host) == (160, 96, "NV12", False)
        self.options["encoder"] = options
        return SimpleNamespace(Encode=self._encode, EndEncode=lambda: [{"data": b"end"}])

    def _fill(self, value: int, *, stream: Any) -> None:
        assert stream is self.stream
        self.log.append(("fill", value))

    def _encode(self, picture: Any) -> list[dict[str, bytes]]:
        planes = [plane.__cuda_array_interface__ for plane in picture.cuda()]
        self.log.append(
            ("encode", *((plane["data"][0], plane["shape"], plane["strides"]) for plane in planes))
        )
        assert {plane["stream"] for plane in planes} == {0x70}
        return [{"data": b"frame "}]

    def session(self, *_: Any, outputs: tuple[str, ...]) -> Any:
        assert outputs == ("pha",)
        return self

    def enqueue(self, src: Any, outputs: dict[str, Any], *, stream: Any) -> None:
        self.log.append(("enqueue", src, outputs, stream))

    def __enter__(self) -> StandInGpu:
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInGpu]:
    stand_in = StandInGpu()
    monkeypatch.setitem(sys.modules, "PyNvVideoCodec", stand_in)  # type: ignore[arg-type]
    monkeypatch.setattr("cuda.core.Device", stand_in)
    return stand_in


def test_nvdec_to_nvenc_keeps_frames_on_the_gpu_and_in_one_stream(
    example: Example, gpu: StandInGpu, tmp_path: Path
) -> None:
    names = example("nvdec_nvenc.py")
    main = names["main"]
    main.__globals__["MattingSession"] = gpu.session
    main("in.mp4", str(tmp_path / "alpha.h264"))
    planes = (0x100000, (96, 160, 1), (160, 1, 1)), (0x100000 + 96 * 160, (48, 80, 2), (160, 2, 1))
    expected: list[tuple[Any, ...]] = [("fill", 128)]
    for frame in ("in.mp4 0 a", "in.mp4 0 b", "in.mp4 1 a", "in.mp4 1 b"):
        expected += [("enqueue", frame, {"pha": 0x100000}, gpu.stream), ("encode", *planes)]
    assert gpu.log == [*expected, ("sync",)]
    for options in gpu.options.values():
        assert (options["cudacontext"], options["cudastream"]) == (0xC0, 0x70)
    assert (tmp_path / "alpha.h264").read_bytes() == b"frame " * 4 + b"end"
    assert names["asked"][0][1]["backend"] == "tensorrt"
