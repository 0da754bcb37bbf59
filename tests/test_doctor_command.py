"""What the doctor says of a machine, whole and broken."""

from __future__ import annotations

import json
import os
import platform
import shlex
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from rvm_trt.cli import main
from rvm_trt.commands.doctor_finding import Check, Finding, Place, State, extra
from rvm_trt.commands.doctor_gpu import gpu_checks, tensorrt_checks
from rvm_trt.commands.doctor_machine import (
    camera_checks,
    disk_checks,
    engine_checks,
    video_checks,
    virtual_camera_checks,
    weights_checks,
)
from rvm_trt.commands.doctor_packages import Package
from rvm_trt.commands.doctor_process import GROUPS
from rvm_trt.errors import DependencyError, EngineError
from rvm_trt.profile import Profile
from rvm_trt.runtime.cuda_driver import Driver


@pytest.fixture(autouse=True)
def own_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shell finds the pip of this Python, as where its environment is active."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A machine with nothing in it."""
    return Place(
        engines=tmp_path / "engines",
        devices=tmp_path / "dev",
        system=tmp_path / "sys",
        modules=tmp_path / "modules",
    )


def by_name(findings: Iterable[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


def put(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def doctor(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    assert main(["doctor", "--json", *arguments]) == code
    return json.loads(capsys.readouterr().out)


def test_the_whole_report_has_every_group_and_state(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("torch", "onnx", "onnxscript", "onnxruntime", "scipy", "matplotlib"):
        put(tmp_path / f"{name}.py")  # importing the real ones takes seconds
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert main(["doctor", "--engines", str(tmp_path / "none")]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    blocks = out.split("\n\n")
    assert [block.splitlines()[0] for block in blocks[: len(GROUPS)]] == [
        title for title, _ in GROUPS.values()
    ]
    states = ("  ok  ", "  missing  ", "  broken  ", "  not here  ", "          ")
    for block in blocks[: len(GROUPS)]:
        lines = block.splitlines()[1:]
        assert lines, block
        assert all(line.startswith(states) for line in lines)
    assert "openvino" in out
    assert "Traceback" not in out


def test_json_has_stable_keys(capsys: pytest.CaptureFixture[str]) -> None:
    report = doctor(capsys, "--only", "disk", "--only", "cameras")
    assert set(report) == {"rvm-trt", "ready", "fix", "groups"}
    assert list(report["groups"]) == ["disk", "cameras"]
    assert set(report["groups"]["disk"]) == {"cache", "engines"}
    assert set(report["groups"]["disk"]["cache"]) == {"state", "text", "fix", "needed"}


def test_libraries_that_raise_print_exit_or_crash_are_findings(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "psutil.py", "print('[]')\nraise RuntimeError('built for\\nanother Python')\n")
    put(tmp_path / "scipy.py", "import os\nos.abort()\n")
    put(tmp_path / "jinja2.py", "import os\nos._exit(3)\n")
    put(tmp_path / "matplotlib.py", "import missing_part\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = doctor(capsys, "--only", "bench", "--strict")["groups"]["bench"]
    assert list(found) == ["psutil", "scipy", "jinja2", "matplotlib"]
    assert found["psutil"]["text"] == "does not load: RuntimeError: built for another Python"
    assert "SIGABRT" in found["scipy"]["text"]
    assert "exit code 3" in found["jinja2"]["text"]
    assert found["matplotlib"]["text"].startswith("needs missing_part")
    states = [finding["state"] for finding in found.values()]
    assert states == ["broken", "broken", "broken", "missing"]


def test_strict_fails_where_matte_lacks_something_and_names_one_command(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("openvino", "av"):
        put(tmp_path / f"{name}.py", f"raise ModuleNotFoundError('no {name}', name='{name}')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    groups = ("--only", "cpu", "--only", "video")
    report = doctor(capsys, *groups, "--strict", code=1)
    assert (report["ready"], report["fix"]) == (False, 'pip install "rvm-trt[cpu,video]"')
    assert report["groups"]["cpu"]["openvino"]["state"] == "missing"
    assert report["groups"]["video"]["av"]["fix"] == 'pip install "rvm-trt[video]"'
    assert main(["doctor", *groups]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == '→ pip install "rvm-trt[cpu,video]"'


def test_a_missing_package_names_its_extra(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    package = Package(name="openvino", module="openvino", extra="cpu", what_for="runs the network")
    (finding,) = package.check(place)
    assert (finding.state, finding.fix) == (State.MISSING, 'pip install "rvm-trt[cpu]"')


def test_encoders_are_those_of_the_ffmpeg_at_hand(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def examine() -> dict[str, Finding]:
        checks: dict[str, Check] = dict(video_checks())
        return by_name(finding for check in checks.values() for finding in check(place))

    assert {finding.state for finding in examine().values()} == {State.OK}
    monkeypatch.setattr("av.codec.codecs_available", {"libaom-av1", "ffv1"})
    found = examine()
    assert found["libx264"].state is State.MISSING
    assert found["libx264"].needed
    assert "av" in found["libx264"].fix
    assert found["ffv1"].state is State.OK


def stand_in_driver(*gpus: tuple[str, int, int]) -> Driver:
    """A driver of GPUs by name and compute capability."""
    attributes = SimpleNamespace(
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR=1, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR=2
    )
    success = 0
    module = SimpleNamespace(
        CUdevice_attribute=attributes,
        cuDriverGetVersion=lambda: (success, 13010),
        cuDeviceGetCount=lambda: (success, len(gpus)),
        cuDeviceGet=lambda ordinal: (success, ordinal),
        cuDeviceGetName=lambda _, device: (success, gpus[device][0].encode() + b"\0\0"),
        cuDeviceGetAttribute=lambda which, device: (success, gpus[device][which]),
    )
    return Driver(module)


def test_gpus_are_listed_by_the_driver(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = stand_in_driver(("RTX 4090", 8, 9), ("GTX 1080 Ti", 6, 1))
    monkeypatch.setattr(Driver, "load", lambda: driver)
    found = by_name(gpu_checks()["driver"](place))
    assert "CUDA 13.1" in found["driver"].text
    assert (found["gpu 0"].state, found["gpu 0"].text) == (State.OK, "RTX 4090, compute capability 8.9")
    assert found["gpu 1"].state is State.NOT_HERE
    assert "too old" in found["gpu 1"].text


def no_bindings() -> Driver:
    raise DependencyError("cuda-bindings", extra="cuda", stage="CUDA session")


def test_without_bindings_gpus_are_listed_by_nvidia_smi(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    smi = put(tmp_path / "bin/nvidia-smi", "#!/bin/sh\necho '0, NVIDIA L4, 8.9, 580.65.06'\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(smi.parent), prepend=os.pathsep)
    monkeypatch.setattr(Driver, "load", no_bindings)
    found = by_name(gpu_checks()["driver"](place))
    assert found["driver"].text == "NVIDIA's, 580.65.06"
    assert found["gpu 0"].text == "NVIDIA L4, compute capability 8.9"
    smi.write_text("#!/bin/sh\necho 'Driver/library version mismatch'\nexit 18\n")
    (finding,) = gpu_checks()["driver"](place)
    assert finding.state is State.BROKEN
    assert "mismatch" in finding.text


def no_driver() -> Driver:
    raise EngineError("GPU", got="no NVIDIA driver on this machine", expected="a driver", todo="Install it.")


@pytest.mark.parametrize(
    ("vendor", "kind", "state"),
    [
        ("0x10de", "0x030000", State.MISSING),
        ("0x10de", "0x040300", State.NOT_HERE),  # the sound of a graphics card
        ("0x8086", "0x030000", State.NOT_HERE),
    ],
)
def test_a_card_without_a_driver_is_told_from_no_card(
    vendor: str, kind: str, state: State, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(place.system / "bus/pci/devices/0000:01:00.0/vendor", f"{vendor}\n")
    put(place.system / "bus/pci/devices/0000:01:00.0/class", f"{kind}\n")
    monkeypatch.setattr(Driver, "load", no_driver)
    (finding,) = gpu_checks()["driver"](place)
    assert finding.state is state
    assert bool(finding.fix) is (state is State.MISSING)


def test_each_flavour_of_tensorrt_says_what_it_needs(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rvm_trt.commands.doctor_gpu.has_gpu", lambda: False)
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    rtx = ModuleType("tensorrt_rtx")
    rtx.__version__ = "1.7.1"  # type: ignore[attr-defined]
    rtx.ComputeCapability = SimpleNamespace(__members__=("SM75", "SM89"))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", rtx)
    found = by_name(finding for check in tensorrt_checks().values() for finding in check(place))
    # Of no use without a GPU, so no command brings it.
    assert (found["tensorrt"].state, found["tensorrt"].fix) == (State.NOT_HERE, "")
    assert found["tensorrt-rtx"].state is State.OK
    assert "builds for sm_75, sm_89" in found["tensorrt-rtx"].text


def test_where_there_is_a_gpu_tensorrt_can_be_installed(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    put(place.system / "bus/pci/devices/0000:01:00.0/vendor", "0x10de\n")
    put(place.system / "bus/pci/devices/0000:01:00.0/class", "0x030000\n")
    (found,) = tensorrt_checks()["tensorrt"](place)
    assert (found.state, found.fix) == (State.MISSING, 'pip install "rvm-trt[tensorrt]"')


def test_a_fix_calls_the_pip_of_this_python(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = put(tmp_path / "pip")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert extra("cpu") == f'{shlex.quote(sys.executable)} -m pip install "rvm-trt[cpu]"'


def add_camera(place: Place, number: int, title: str, *, bus: str, index: int = 0) -> None:
    node = put(place.devices / f"video{number}")
    device = place.system / "devices" / bus / node.name
    put(device / "name", f"{title}\n")
    put(device / "index", f"{index}\n")
    link = place.system / "class/video4linux" / node.name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(device)


def test_cameras_and_virtual_cameras_are_told_apart(place: Place) -> None:
    add_camera(place, 10, "Webcam", bus="pci0000:00")
    add_camera(place, 2, "Dummy", bus="virtual/video4linux")
    add_camera(place, 11, "Webcam metadata", bus="pci0000:00", index=1)
    (camera,) = camera_checks()["cameras"](place)
    assert (camera.name, camera.state) == ("video10", State.OK)
    assert camera.text.startswith("Webcam at ")
    (virtual,) = virtual_camera_checks()["v4l2loopback"](place)
    assert virtual.state is State.OK
    assert "Dummy" in virtual.text


def test_without_cameras_nothing_is_wrong(place: Place) -> None:
    for check in (camera_checks()["cameras"], virtual_camera_checks()["v4l2loopback"]):
        (finding,) = check(place)
        assert (finding.state, finding.fix) == (State.NOT_HERE, "")


@pytest.mark.parametrize("installed", [True, False])
def test_the_module_of_virtual_cameras_is_loaded_or_installed(installed: bool, place: Place) -> None:
    modules = place.modules / platform.release()
    put(modules / ("updates/v4l2loopback.ko.zst" if installed else "modules.dep"))
    (finding,) = virtual_camera_checks()["v4l2loopback"](place)
    assert finding.state is State.MISSING
    assert finding.fix.startswith("sudo modprobe v4l2loopback") is installed


def test_a_full_disk_and_a_file_in_place_of_a_folder_are_seen(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=5_000_000))
    (finding,) = disk_checks()["engines"](place)
    assert (finding.state, finding.needed) == (State.MISSING, True)
    put(place.engines)
    (finding,) = disk_checks()["engines"](place)
    assert finding.state is State.BROKEN


def test_weights_are_verified(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rvm_trt.export.weight_cache import Record, WeightCache
    from rvm_trt.files import sha256_file
    from rvm_trt.options import Refiner, Variant

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (finding,) = weights_checks()["weights"](place)
    assert (finding.state, finding.fix) == (State.MISSING, "rvm-trt weights")
    cache = WeightCache(tmp_path / "rvm-trt/weights")
    file = put(cache.path("rvm_mobilenetv3.pth"), "weights")
    record = Record(
        origin="the official release",
        licence="GPL-3.0",
        sha256=sha256_file(file),
        date="2026-11-23",
        variant=Variant.MOBILENETV3,
        refiner=Refiner.DEEP,
        converted_from={},
    )
    cache.put_record(file.name, record)
    (finding,) = weights_checks()["weights"](place)
    assert (finding.name, finding.state) == ("rvm_mobilenetv3.pth", State.OK)
    file.write_text("altered")
    found = by_name(weights_checks()["weights"](place))
    assert found["rvm_mobilenetv3.pth"].state is State.BROKEN
    assert found["rvm_mobilenetv3.pth"].fix == "rvm-trt weights --variant mobilenetv3 --refresh"


def test_engines_are_loaded(place: Place, built: Callable[..., Any]) -> None:
    (finding,) = engine_checks()["engines"](place)
    assert (finding.state, finding.fix) == (State.MISSING, f"rvm-trt build --engines {place.engines}")
    engine = built(Profile(width=161, height=97, ratio=0.6))
    place.engines.mkdir()
    (place.engines / "whole").symlink_to(engine.path)
    put(place.engines / "damaged/manifest.json", "{}")
    found = by_name(engine_checks()["engines"](place))
    assert found["whole"].state is State.OK
    assert found["whole"].text.endswith("loads here")
    assert found["damaged"].state is State.BROKEN
    assert found["damaged"].fix == f"rm -r {place.engines}/damaged"
