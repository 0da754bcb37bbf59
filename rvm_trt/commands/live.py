"""Mattes a camera and shows the result as a camera that any video call can choose.

The newest frame is matted; frames that come in the meantime are dropped, so that the delay never grows. On
Linux the virtual camera is v4l2loopback's (sudo modprobe v4l2loopback), on macOS and Windows OBS's. Ctrl-C ends.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rvm_trt.commands.background import Background, parse_background
from rvm_trt.errors import DependencyError, OptionError, VideoError
from rvm_trt.options import Precision

if TYPE_CHECKING:
    from rvm_trt.runtime.live import LiveReport
    from rvm_trt.runtime.video.backdrop import Backdrop
    from rvm_trt.runtime.video.camera import Camera

HELP = "matte a camera into a virtual camera"

EXAMPLES = """\
examples:
  rvm-trt live
      the first camera on green, as the first virtual camera
  rvm-trt live /dev/video2 --background office.jpg --size 1920x1080
  rvm-trt live --to /dev/video10 --seconds 60 --json
"""
_SIZE = re.compile(r"(\d{2,5})x(\d{2,5})")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments to its parser."""
    parser.epilog = EXAMPLES
    parser.add_argument(
        "camera",
        metavar="CAMERA",
        nargs="?",
        default="/dev/video0",
        help="which camera (default: %(default)s)",
    )
    parser.add_argument("--to", metavar="DEVICE", help="which virtual camera (default: the first free one)")
    parser.add_argument(
        "--size", default="1280x720", metavar="WxH", help="of the camera, if it can (default: %(default)s)"
    )
    parser.add_argument("--rate", type=float, default=30.0, metavar="FPS", help="of the camera (default: 30)")
    parser.add_argument(
        "--background", default="green", metavar="COLOUR|IMAGE", help="behind the person (default: green)"
    )
    parser.add_argument("--ratio", type=float, metavar="R", help="downsample ratio (default: by the size)")
    parser.add_argument("--precision", choices=("fp32", "bf16"), help="default: bf16 where the CPU has it")
    parser.add_argument("--checkpoint", metavar="PATH", help="a checkpoint of your own (default: fetched)")
    parser.add_argument(
        "--engines",
        type=Path,
        default=Path("build/engines"),
        metavar="DIR",
        help="where engines are kept (default: build/engines)",
    )
    parser.add_argument("--threads", type=int, metavar="N", help="of the network (default: all)")
    parser.add_argument("--seconds", type=float, metavar="S", help="end after so long (default: at Ctrl-C)")
    parser.add_argument("--json", action="store_true", help="print the report as JSON on standard output")


def run(args: argparse.Namespace) -> int:
    """Mattes until Ctrl-C and returns 0. Raises `RvmTrtError` where the user can mend it."""
    from rvm_trt.runtime.live import matte_live
    from rvm_trt.runtime.session import MattingSession
    from rvm_trt.runtime.video.camera import Camera

    width, height = _size(args.size)
    with Camera(args.camera, width=width, height=height, rate=args.rate) as camera:
        background = parse_background(args.background, width=camera.width, height=camera.height)
        with (
            MattingSession(
                _engine(args, camera), background=_still(background), threads=args.threads
            ) as session,
            _virtual_camera(args.to, camera) as show,
            _progress(quiet=args.quiet) as progress,
        ):
            report = matte_live(camera, session, show, seconds=args.seconds, progress=progress)
    _tell(report, as_json=args.json)
    return 0


def _size(text: str) -> tuple[int, int]:
    found = _SIZE.fullmatch(text)
    if found is None:
        raise OptionError("--size", got=repr(text), expected="as 1280x720", todo="Write width x height.")
    return int(found[1]), int(found[2])


def _still(background: Background | Backdrop | None) -> Background:
    if isinstance(background, tuple | np.ndarray):
        return background
    if background is not None:
        background.close()
    raise OptionError(
        "--background",
        got="none" if background is None else "one that changes from frame to frame",
        expected="a colour or an image",
        todo="Choose one of these for live matting.",
    )


def _engine(args: argparse.Namespace, camera: Camera) -> Any:
    from rvm_trt.commands.matte import choose_profile
    from rvm_trt.engines.openvino_library import fastest_precision
    from rvm_trt.engines.provision import provide_engine

    return provide_engine(
        choose_profile(width=camera.width, height=camera.height, ratio=args.ratio),
        backend="cpu",
        precision=Precision(args.precision) if args.precision else fastest_precision(),
        checkpoint=args.checkpoint,
        engines_dir=args.engines,
        progress=None if args.quiet else lambda text: print(text, file=sys.stderr),
    )


@contextmanager
def _virtual_camera(device: str | None, camera: Camera) -> Iterator[Callable[[Any], None]]:
    try:
        import pyvirtualcam
    except ImportError as error:
        raise DependencyError("pyvirtualcam", extra="live", stage="virtual camera") from error
    try:
        virtual = pyvirtualcam.Camera(camera.width, camera.height, camera.rate, device=device)
    except RuntimeError as error:
        raise VideoError(
            f"virtual camera {device or ''!r}",
            got=" ".join(str(error).split()),
            expected="a virtual camera that is free",
            todo="On Linux: sudo modprobe v4l2loopback exclusive_caps=1. Elsewhere: install OBS and start its camera.",
        ) from error
    with virtual:
        print(f"Choose {virtual.device} in your video call; Ctrl-C ends.", file=sys.stderr)
        yield lambda matte: virtual.send(matte.composite)


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[int, int], None] | None]:
    """Yields what counts the frames on the terminal's last line, which is free again afterwards."""
    if quiet or not sys.stderr.isatty():
        yield None
        return

    def count(frames: int, dropped: int) -> None:
        if frames % 10 == 0:
            print(f"\r{frames} frames, {dropped} dropped", end="", file=sys.stderr, flush=True)

    try:
        yield count
    finally:
        print(file=sys.stderr)


def _tell(report: LiveReport, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(report.to_json(), indent=2))
        return
    print(
        f"{report.frames} frames in {report.seconds:.1f} s ({report.fps:.1f} FPS), {report.dropped} dropped; from "
        f"camera to virtual camera {report.latency_p50_ms:.0f} ms (95 %: {report.latency_p95_ms:.0f} ms)"
    )
