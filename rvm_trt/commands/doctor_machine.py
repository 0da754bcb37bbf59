"""The doctor's checks of the machine: encoders, cameras, disks, weights, and engines."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rvm_trt.commands.doctor_finding import Checks, Finding, Place, State, pip, system_package
from rvm_trt.commands.doctor_packages import Package
from rvm_trt.errors import RvmTrtError, WeightsError
from rvm_trt.files import cache_dir
from rvm_trt.options import Backend, Graph, Variant

if TYPE_CHECKING:
    from rvm_trt.engines.artifact import Engine

_ROOM_BYTES = 1_000_000_000  # weights as the web model, a graph, an engine and a margin
# Encoders of one purpose, any of which will do; what they write.
_ENCODERS = (
    (("libx264",), "H.264 in .mp4, .mkv and .mov", True),
    (("prores_ks",), "ProRes 4444 with alpha in .mov", False),
    (("libvpx-vp9",), "VP9 in .webm, with alpha", False),
    (("libsvtav1", "libaom-av1"), "AV1 in .webm", False),
    (("ffv1",), "FFV1, lossless", False),
    (("png",), "PNG images", False),
    (("exr",), "EXR images", False),
)


def _ffmpeg(_: Place) -> Iterator[Finding]:
    import av

    version = str(getattr(av, "ffmpeg_version_info", "")) or "unknown version"
    library = ".".join(map(str, av.library_versions["libavcodec"]))
    yield Finding(name="ffmpeg", state=State.OK, text=f"{version} within PyAV, libavcodec {library}")


def _encoder(names: tuple[str, ...], what: str, needed: bool, _: Place) -> Iterator[Finding]:
    from av.codec import codecs_available

    found = [name for name in names if name in codecs_available and _encodes(name)]
    yield Finding(
        name=names[0],
        state=State.OK if found else State.MISSING,
        text=f"{what}, by {found[0]}" if found else f"this FFmpeg does not write {what}",
        fix="" if found else f'{pip()} install --force-reinstall --only-binary :all: "av>=17,<19"',
        needed=needed,
    )


def _encodes(name: str) -> bool:
    from av.codec import Codec
    from av.codec.codec import UnknownCodecError

    try:
        return bool(Codec(name, "w").is_encoder)
    except UnknownCodecError:
        return False


def _cameras(place: Place) -> Iterator[Finding]:
    found = [node for node in _video_nodes(place) if not _is_loopback(place, node)]
    if not found:
        yield Finding(name="cameras", state=State.NOT_HERE, text=f"no camera at {place.devices}/video*")
    for node in found:
        readable = os.access(node, os.R_OK | os.W_OK)
        yield Finding(
            name=node.name,
            state=State.OK if readable else State.BROKEN,
            text=f"{_title(place, node)} at {node}" + ("" if readable else ", which this user may not open"),
            fix="" if readable else "sudo usermod --append --groups video $USER, and log in again",
        )


def _loopback(place: Place) -> Iterator[Finding]:
    nodes = [node for node in _video_nodes(place) if _is_loopback(place, node)]
    if nodes:
        text = ", ".join(f"{_title(place, node)} at {node}" for node in nodes)
        yield Finding(name="v4l2loopback", state=State.OK, text=text)
        return
    modules = place.modules / platform.release()
    if not modules.is_dir():
        text = "this system cannot load kernel modules (a container, or not Linux)"
        yield Finding(name="v4l2loopback", state=State.NOT_HERE, text=text)
        return
    there = any(modules.rglob("v4l2loopback.ko*"))
    yield Finding(
        name="v4l2loopback",
        state=State.MISSING,
        text="installed, but not loaded" if there else "not installed; makes virtual cameras",
        fix="sudo modprobe v4l2loopback exclusive_caps=1"
        if there
        else system_package("v4l2loopback-dkms", dnf="akmod-v4l2loopback", zypper="v4l2loopback-kmp-default"),
    )


def _video_nodes(place: Place) -> list[Path]:
    nodes = [node for node in place.devices.glob("video*") if node.name.removeprefix("video").isdecimal()]
    # A webcam has further nodes for its metadata: only index 0 gives pictures.
    first = [node for node in nodes if _fact(place, node, "index") in ("", "0")]
    return sorted(first, key=lambda node: int(node.name.removeprefix("video")))


def _is_loopback(place: Place, node: Path) -> bool:
    return "virtual" in (place.system / "class/video4linux" / node.name).resolve().parts


def _title(place: Place, node: Path) -> str:
    return _fact(place, node, "name") or "video device"


def _fact(place: Place, node: Path, name: str) -> str:
    try:
        return (place.system / "class/video4linux" / node.name / name).read_text().strip()
    except OSError:
        return ""


def _disk(name: str, folder: Path, remedy: str) -> Finding:
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free
    state, text = State.OK, f"{folder}, {free / 1e9:.1f} GB free"
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        state, text = State.BROKEN, f"{folder} cannot be written"
    elif free < _ROOM_BYTES:
        state, text = State.MISSING, f"{text}, {_ROOM_BYTES / 1e9:.0f} GB needed"
    return Finding(name=name, state=state, text=text, fix="" if state is State.OK else remedy, needed=True)


def _cache_disk(_: Place) -> Iterator[Finding]:
    yield _disk("cache", cache_dir(), "export XDG_CACHE_HOME=FOLDER, on another disk")


def _engines_disk(place: Place) -> Iterator[Finding]:
    yield _disk("engines", place.engines, "give --engines FOLDER, on another disk")


def _weights(_: Place) -> Iterator[Finding]:
    from rvm_trt.export.weight_cache import Source, WeightCache, file_name

    cache, found = WeightCache(cache_dir() / "weights"), False
    for variant in Variant:
        for source in (Source.OFFICIAL, Source.WEB):
            name = file_name(variant, source)
            try:
                record = cache.find(name)
            except WeightsError as error:
                yield Finding(
                    name=name,
                    state=State.BROKEN,
                    text=error.got,
                    fix=f"rvm-trt weights --variant {variant.value} --refresh",
                    needed=True,
                )
                continue
            if record is not None:
                found = True
                text = f"{record.refiner.value.replace('_', ' ')}, from {record.origin}, in {cache.folder}"
                yield Finding(name=name, state=State.OK, text=text)
    if not found:
        text = f"none in {cache.folder} yet; fetched where they are needed"
        yield Finding(name="weights", state=State.MISSING, text=text, fix="rvm-trt weights")


def _engines(place: Place) -> Iterator[Finding]:
    folders = sorted(path.parent for path in place.engines.glob("*/manifest.json"))
    if not folders:
        text = f"none in {place.engines} yet; built where they are needed"
        fix = shlex.join(("rvm-trt", "build", "--engines", str(place.engines)))
        yield Finding(name="engines", state=State.MISSING, text=text, fix=fix)
    for folder in folders:
        yield _engine(folder)


def _engine(folder: Path) -> Finding:
    from rvm_trt.engines.artifact import Engine

    try:
        engine = Engine.load(folder)
        words = f"{engine.manifest.precision.value}, {engine.manifest.backend.value}"
        if engine.manifest.backend is not Backend.CPU and not _gpu_here():
            return Finding(name=folder.name, state=State.NOT_HERE, text=f"{words}; whole, for NVIDIA GPUs")
        _open(engine)
    except RvmTrtError as error:
        text = f"got {error.got}, expected {error.expected}; made anew where it is needed"
        return Finding(
            name=folder.name, state=State.BROKEN, text=text, fix=shlex.join(("rm", "-r", str(folder)))
        )
    return Finding(name=folder.name, state=State.OK, text=f"{words}; loads here")


def _gpu_here() -> bool:
    from rvm_trt.engines.tensorrt_library import has_gpu

    return has_gpu()


def _open(engine: Engine) -> None:
    """Loads an engine as a session does; raises `RvmTrtError` where it cannot be loaded."""
    if engine.manifest.backend is Backend.CPU:
        from rvm_trt.runtime.openvino_core import OpenVinoCore

        OpenVinoCore.load(engine, threads=1).close()
    elif engine.manifest.graph is Graph.CORE and engine.profile.batch == 1:
        from rvm_trt.runtime.opening import open_engine

        with ExitStack() as owned:
            open_engine(engine, ("pha",), threads=1, gpu=0, owned=owned)


def video_checks() -> Checks:
    """PyAV, and the encoders that the outputs need."""
    pyav = Package(name="av", module="av", extra="video", what_for="reads and writes video", needed=True)
    pillow = Package(name="pillow", module="PIL.Image", extra="video", what_for="reads images", needed=True)
    encoders = {names[0]: partial(_encoder, names, what, needed) for names, what, needed in _ENCODERS}
    return {"av": pyav.check, "pillow": pillow.check, "ffmpeg": _ffmpeg, **encoders}


def camera_checks() -> Checks:
    """Cameras, and what reads them."""
    package = Package(
        name="opencv-python-headless", module="cv2", extra="live", what_for="reads cameras for rvm-trt live"
    )
    return {"cameras": _cameras, package.name: package.check}


def virtual_camera_checks() -> Checks:
    """What a virtual camera needs."""
    package = Package(
        name="pyvirtualcam", module="pyvirtualcam", extra="live", what_for="writes to a virtual camera"
    )
    return {"v4l2loopback": _loopback, "pyvirtualcam": package.check}


def disk_checks() -> Checks:
    """Room and permission to write."""
    return {"cache": _cache_disk, "engines": _engines_disk}


def weights_checks() -> Checks:
    """The cache of weights."""
    return {"weights": _weights}


def engine_checks() -> Checks:
    """The engines that are built."""
    return {"engines": _engines}
