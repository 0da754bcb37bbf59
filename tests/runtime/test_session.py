"""What a session gives: beside the network in PyTorch, for any outputs, background and number of threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from rvm_trt import Engine, MattingSession, Profile
from rvm_trt.errors import EngineError, FrameError, OptionError
from rvm_trt.export.checkpoint import load_checkpoint
from rvm_trt.export.onnx_graph import load_network
from rvm_trt.options import Refiner
from rvm_trt.runtime import kernels_cpu
from rvm_trt.runtime.frames import OUTPUTS

Image = npt.NDArray[np.uint8]
Frames = Callable[..., list[Image]]
Built = Callable[..., Engine]
ODD = Profile(width=161, height=97, ratio=0.6)
PROFILES = [ODD, Profile(width=70, height=90, ratio=1.0), replace(ODD, refiner=Refiner.FAST)]
COLOUR = (120, 255, 155)


@pytest.fixture(scope="module")
def expected(engine: Engine, frames: list[Image]) -> list[dict[str, Image]]:
    """The outputs of `frames`, from a session of its own."""
    return mattes(engine, frames, outputs=("pha", "composite"))


def mattes(engine: Engine, frames: list[Image], **options: Any) -> list[dict[str, Image]]:
    with MattingSession(engine, **{"threads": 1, **options}) as session:
        return [session.process(frame).copy() for frame in frames]


def assert_same(got: dict[str, Image], wanted: dict[str, Image]) -> None:
    assert list(got) == list(wanted)
    for name, image in wanted.items():
        np.testing.assert_array_equal(got[name], image, err_msg=name)


def reference(
    profile: Profile, checkpoint: Path, frames: list[Image], background: Any
) -> Iterator[dict[str, Any]]:
    """What the float network gives, in 0..255, states carried."""
    network = load_network(load_checkpoint(checkpoint), profile)
    states: list[Any] = [None] * 4
    behind = np.asarray(background, np.float32) / 255
    for frame in frames:
        with torch.inference_mode():
            src = torch.from_numpy(frame.copy()).permute(2, 0, 1)[None].float() / 255
            fgr, pha, *states = network(src, *states, profile.ratio)
        colour, alpha = fgr[0].permute(1, 2, 0).numpy(), pha[0].permute(1, 2, 0).numpy()
        composite = colour * alpha + behind * (1 - alpha)
        yield {"pha": alpha[..., 0] * 255, "fgr": colour * 255, "composite": composite * 255}


def assert_levels(got: Image, wanted: npt.NDArray[np.float32], name: str) -> None:
    levels = np.abs(got.astype(np.int32) - np.rint(wanted).astype(np.int32))
    assert levels.max() <= 2, f"{name}: {levels.max()} levels"
    assert (levels <= 1).mean() >= 0.999, f"{name}: {(levels > 1).mean():.2%} beyond one level"


@pytest.mark.parametrize("profile", PROFILES, ids=[profile.name for profile in PROFILES])
@pytest.mark.parametrize("behind", ["colour", "image"])
def test_fp32_outputs_are_those_of_the_network(
    profile: Profile, behind: str, built: Built, checkpoint: Callable[..., Path], moving_frames: Frames
) -> None:
    clip = moving_frames(profile.width, profile.height, 6)
    background: Any = COLOUR if behind == "colour" else clip[0][::-1].copy()
    got = mattes(built(profile), clip, outputs=OUTPUTS, background=background)
    for matte, wanted in zip(got, reference(profile, checkpoint(), clip, background), strict=True):
        for name in ("pha", "fgr", "composite"):
            assert_levels(matte[name], wanted[name], name)
        np.testing.assert_array_equal(matte["rgba"][..., :3], matte["fgr"])
        np.testing.assert_array_equal(matte["rgba"][..., 3], matte["pha"])
        assert wanted["pha"].std() > 10  # a flat matte would prove nothing


@pytest.mark.shared
def test_fp32_on_real_frames(built: Built, real_checkpoint: Path, footage: Frames) -> None:
    profile = Profile(width=417, height=235, ratio=0.6)
    clip = footage("upper_body_640x480.mkv", 10, width=417, height=235)
    got = mattes(built(profile, weights=real_checkpoint), clip, outputs=("pha", "composite"))
    for matte, wanted in zip(got, reference(profile, real_checkpoint, clip, COLOUR), strict=True):
        for name in matte:
            assert_levels(matte[name], wanted[name], name)


@pytest.mark.shared
def test_bf16_stays_near_on_real_frames(built: Built, real_checkpoint: Path, footage: Frames) -> None:
    # Measured: MAD 0.1e-3 (FP32, through uint8: 0.015e-3), with single pixels at edges off by up to 0.13.
    profile = Profile(width=417, height=235, ratio=0.6)
    clip = footage("upper_body_640x480.mkv", 30, width=417, height=235)
    got = mattes(built(profile, precision="bf16", weights=real_checkpoint), clip, outputs=("pha",))
    wanted = reference(profile, real_checkpoint, clip, COLOUR)
    differences = [np.abs(m["pha"] - w["pha"]).mean() / 255 for m, w in zip(got, wanted, strict=True)]
    assert np.mean(differences) < 0.5e-3


def test_bf16_stays_near_with_generated_weights(
    built: Built, checkpoint: Callable[..., Path], frames: list[Image]
) -> None:
    got = mattes(built(ODD, precision="bf16"), frames, outputs=("pha",))
    wanted = reference(ODD, checkpoint(), frames, COLOUR)
    differences = [np.abs(m["pha"] - w["pha"]).mean() / 255 for m, w in zip(got, wanted, strict=True)]
    assert np.mean(differences) < 10e-3


@pytest.mark.parametrize("threads", [2, 3])
def test_any_number_of_threads_gives_the_same_bytes(
    threads: int, engine: Engine, frames: list[Image], expected: list[dict[str, Image]]
) -> None:
    got = mattes(engine, frames, outputs=("pha", "composite"), threads=threads)
    for one, other in zip(got, expected, strict=True):
        assert_same(one, other)


def test_frames_are_not_written_to(session: MattingSession, frames: list[Image]) -> None:
    frame = frames[0].copy()
    session.process(frame)
    np.testing.assert_array_equal(frame, frames[0])


def test_frames_of_torch_are_taken(
    session: MattingSession, frames: list[Image], expected: list[dict[str, Image]]
) -> None:
    assert_same(session.process(torch.from_numpy(frames[0].copy())).copy(), expected[0])


def test_read_only_frames_are_taken_by_the_kernels_that_are_warm(
    session: MattingSession, frames: list[Image], expected: list[dict[str, Image]]
) -> None:
    # Decoders and numpy.frombuffer give read-only arrays. To numba they are another type: a second compilation in
    # the frame loop, seconds long, whose rounding differs.
    compiled = len(kernels_cpu.sample.signatures), len(kernels_cpu.compose.signatures)
    frozen = frames[0].copy()
    frozen.flags.writeable = False
    assert_same(session.process(frozen).copy(), expected[0])
    assert_same(
        session.process(np.frombuffer(frames[1].tobytes(), np.uint8).reshape(97, 161, 3)).copy(), expected[1]
    )
    assert (len(kernels_cpu.sample.signatures), len(kernels_cpu.compose.signatures)) == compiled


@pytest.mark.parametrize("outputs", ["pha", ("fgr",), ("rgba", "pha"), ("composite", "fgr")])
def test_only_the_requested_outputs_are_there(outputs: Any, engine: Engine, frames: list[Image]) -> None:
    everything = mattes(engine, frames[:2], outputs=OUTPUTS)[1]
    names = (outputs,) if isinstance(outputs, str) else outputs
    with MattingSession(engine, outputs=outputs, threads=1) as session:
        assert session.outputs == names
        session.process(frames[0])
        matte = session.process(frames[1])
        assert_same(matte.copy(), {name: everything[name] for name in names})
        for name in set(OUTPUTS) - set(names):
            with pytest.raises(OptionError, match=f"one with '{name}' among them"):
                getattr(matte, name)


def test_outputs_have_the_shapes_that_are_promised(engine: Engine, frames: list[Image]) -> None:
    with MattingSession(engine, outputs=OUTPUTS, threads=1) as session:
        matte = session.process(frames[0])
        shapes = {name: getattr(matte, name).shape for name in OUTPUTS}
        assert shapes == {
            "pha": (97, 161),
            "fgr": (97, 161, 3),
            "rgba": (97, 161, 4),
            "composite": (97, 161, 3),
        }
        for name in OUTPUTS:
            image = getattr(matte, name)
            assert image.dtype == np.uint8
            assert image.flags.c_contiguous
            with pytest.raises(ValueError, match="read-only"):
                image[0, 0] = 1


def test_the_background_changes_from_the_next_frame_on(engine: Engine, frames: list[Image]) -> None:
    picture = frames[5]
    with MattingSession(engine, outputs=("composite",), background=(1, 2, 3), threads=1) as session:
        first = session.process(frames[0]).copy()["composite"]
        session.set_background(picture)
        second = session.process(frames[1]).copy()["composite"]
        with pytest.raises(FrameError, match="background"):
            session.set_background(picture[:-1])
        third = session.process(frames[2]).copy()["composite"]
        session.set_background([9, 8, 7])  # type: ignore[arg-type]
        fourth = session.process(frames[3]).copy()["composite"]
    on = [mattes(engine, frames[:4], background=behind) for behind in ((1, 2, 3), picture, (9, 8, 7))]
    wanted = (on[0][0], on[1][1], on[1][2], on[2][3])
    for got, matte in zip((first, second, third, fourth), wanted, strict=True):
        np.testing.assert_array_equal(got, matte["composite"])


@pytest.mark.parametrize("profile", PROFILES, ids=[profile.name for profile in PROFILES])
def test_without_spill_suppression_the_colours_are_those_of_the_frame(
    profile: Profile, built: Built, moving_frames: Frames
) -> None:
    clip = moving_frames(profile.width, profile.height, 4)
    behind = clip[0][::-1].copy()
    on = mattes(built(profile), clip, outputs=OUTPUTS, background=behind)
    off = mattes(built(profile), clip, outputs=OUTPUTS, background=behind, spill_suppression=False)
    for frame, kept, own in zip(clip, on, off, strict=True):
        np.testing.assert_array_equal(own["pha"], kept["pha"])
        np.testing.assert_array_equal(own["fgr"], frame)
        np.testing.assert_array_equal(own["rgba"], np.dstack([frame, kept["pha"]]))
        alpha = kept["pha"][..., None] / 255
        blend = frame * alpha + behind * (1 - alpha)
        assert np.abs(own["composite"] - blend).max() <= 1
        assert (kept["fgr"] != frame).mean() > 0.1  # else both would be the same


def test_states_do_not_depend_on_spill_suppression(engine: Engine, frames: list[Image]) -> None:
    states = []
    for spill_suppression in (True, False):
        with MattingSession(engine, threads=1, spill_suppression=spill_suppression) as session:
            for frame in frames[:3]:
                session.process(frame)
            states.append(session.state())
    for kept, own in zip(*states, strict=True):
        np.testing.assert_array_equal(kept, own)


@pytest.mark.parametrize("threads", [0, -1, 1.0, True, "2", 1025])
def test_other_thread_counts_are_refused(threads: Any, engine: Engine) -> None:
    with pytest.raises(OptionError, match="threads"):
        MattingSession(engine, threads=threads)


@pytest.mark.parametrize(
    ("options", "kind"), [({"outputs": ("alpha",)}, OptionError), ({"background": (1,)}, FrameError)]
)
def test_other_options_are_refused(options: dict[str, Any], kind: type[Exception], engine: Engine) -> None:
    with pytest.raises(kind):
        MattingSession(engine, **options)


def test_engines_that_a_session_does_not_run_are_refused(built: Built, tmp_path: Path) -> None:
    batch = Profile(width=160, height=96, ratio=0.5, refiner=Refiner.FAST, batch=2)
    for engine, words in ((built(ODD, "full"), "graph: got 'full'"), (built(batch, "full"), "expected ")):
        with pytest.raises(EngineError, match=words):
            MattingSession(engine)
    with pytest.raises(EngineError, match=r"no readable manifest\.json"):
        MattingSession(tmp_path)


def test_an_engine_that_was_altered_after_loading_is_refused(engine: Engine, tmp_path: Path) -> None:
    import shutil

    folder = Path(shutil.copytree(engine.path, tmp_path / "engine"))
    loaded = Engine.load(folder)
    with (folder / "engine.bin").open("r+b") as file:
        file.write(b"\xff\xff")
    with pytest.raises(EngineError, match=r"engine\.bin does not have the SHA-256"):
        MattingSession(loaded)
