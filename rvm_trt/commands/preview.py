"""Shows a video beside its alpha and its composite on a local page, as they are matted.

The page has controls for place, view, background and downsample ratio. Another ratio needs another engine: one
that is missing is built in the background, and the old one goes on until then. At its end the video begins anew;
while no page is open it waits. Nothing is written. Ctrl-C ends it.

Only this machine can open the page, unless --host says otherwise; then its address carries a token.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import socket
import sys
import threading
import webbrowser
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rvm_trt.errors import DependencyError, OptionError
from rvm_trt.options import Precision, Refiner, Variant

if TYPE_CHECKING:
    from rvm_trt.profile import Profile
    from rvm_trt.runtime.preview.parts import Background, Image, Tell
    from rvm_trt.runtime.preview.player import Player
    from rvm_trt.runtime.session import MattingSession
    from rvm_trt.runtime.video.source import Source

HELP = "show a video being matted, on a local page"

EXAMPLES = """\
examples:
  rvm-trt preview talk.mp4 --open
      in the browser of this machine
  rvm-trt preview talk.mp4 --background beach.jpg --ratio 0.4
      begins with these; both can be changed on the page
  rvm-trt preview talk.mp4 --host 0.0.0.0 --port 8000
      for a phone on the same network
"""
_OFFERED = ("green", "blue", "white", "grey", "black", "transparent", "blur")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments to its parser."""
    parser.epilog = EXAMPLES
    parser.add_argument("input", metavar="INPUT", help="video file, image, or folder of images")
    parser.add_argument(
        "--background",
        default="green",
        metavar="WHAT",
        help="at first, as 'rvm-trt matte' takes it (default: green)",
    )
    parser.add_argument("--rate", metavar="FPS", help="of an image folder, as 25 or 30000/1001 (default: 30)")
    parser.add_argument("--deinterlace", action="store_true", help="make whole frames of interlaced video")
    parser.add_argument(
        "--hdr",
        choices=("refuse", "as-stored"),
        default="refuse",
        help="HDR video (PQ, HLG): refuse it, or take its codes as they are (default: refuse)",
    )
    page = parser.add_argument_group("page")
    page.add_argument(
        "--host",
        default="127.0.0.1",
        help="name or address to listen on; 0.0.0.0 for every network (default: this machine only)",
    )
    page.add_argument("--port", type=int, default=0, help="port to listen on (default: 0, one that is free)")
    page.add_argument("--open", action="store_true", help="open the page in the browser")
    _add_network_arguments(parser.add_argument_group("network"))


def run(args: argparse.Namespace) -> int:
    """Serves the preview until it is stopped, and returns 0. Raises `RvmTrtError` where the user can mend it."""
    _require_server()
    from rvm_trt.commands.matte import choose_profile
    from rvm_trt.runtime.preview.player import Player
    from rvm_trt.runtime.preview.server import listen
    from rvm_trt.runtime.preview.sessions import Sessions
    from rvm_trt.runtime.video.input_options import Hdr, InputOptions
    from rvm_trt.runtime.video.source import open_source

    _check_port(args.port)
    inputs = InputOptions(deinterlace=args.deinterlace, hdr=Hdr(args.hdr))
    source = open_source(args.input, rate=args.rate, threads=args.threads, options=inputs)
    profile = choose_profile(
        width=source.width, height=source.height, ratio=args.ratio, refiner=args.refiner, variant=args.variant
    )
    with (
        closing(source),
        listen(args.host, args.port) as listener,
        _backgrounds(args.background, source, threads=args.threads) as (name, backgrounds),
        Sessions(_Maker(args, source)) as sessions,
    ):
        session = sessions.open(profile.ratio, tell=_say)
        with Player(source, session, sessions, background=backgrounds[name], background_name=name) as player:
            asyncio.run(_serve(player, backgrounds, listener, args))
    return 0


def _add_network_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--ratio", type=float, metavar="R", help="downsample ratio at first, 0 to 1")
    group.add_argument("--precision", choices=("fp32", "bf16"), help="default: bf16 where the CPU has it")
    group.add_argument("--checkpoint", metavar="PATH", help="a checkpoint of your own (default: fetched)")
    group.add_argument("--variant", choices=[v.value for v in Variant], default=Variant.MOBILENETV3.value)
    group.add_argument("--refiner", choices=[r.value for r in Refiner], default=Refiner.DEEP.value)
    group.add_argument(
        "--engines",
        type=Path,
        default=Path("build/engines"),
        metavar="DIR",
        help="where engines are kept (default: build/engines)",
    )
    group.add_argument(
        "--threads", type=int, default=0, metavar="N", help="threads of decoder and network (default: all)"
    )


class _Maker:
    """Makes sessions for the source's size, with the engines that the arguments ask for."""

    def __init__(self, args: argparse.Namespace, source: Source) -> None:
        from rvm_trt.engines.openvino_library import fastest_precision

        self._args = args
        self._source = source
        self._precision = Precision(args.precision) if args.precision else fastest_precision()

    def __call__(self, ratio: float, *, tell: Tell, cancelled: threading.Event) -> MattingSession:
        from rvm_trt.commands.matte import choose_profile
        from rvm_trt.engines.provision import provide_engine
        from rvm_trt.runtime.preview.child import run_child
        from rvm_trt.runtime.session import MattingSession

        args = self._args
        profile = choose_profile(
            width=self._source.width,
            height=self._source.height,
            ratio=ratio,
            refiner=args.refiner,
            variant=args.variant,
        )
        # Exporting and building keep Python busy for long, and cannot be called off: both go to another process.
        run_child(self._command(profile), subject=f"ratio {ratio:g}", tell=tell, cancelled=cancelled)
        engine = provide_engine(
            profile,
            backend="cpu",
            precision=self._precision,
            checkpoint=args.checkpoint,
            engines_dir=args.engines,
            progress=tell,
        )
        tell(f"Opening the engine: {engine.path.name}")
        return MattingSession(engine, outputs=("pha", "composite"), threads=args.threads or None)

    def _command(self, profile: Profile) -> list[str]:
        checkpoint = ["--checkpoint", self._args.checkpoint] if self._args.checkpoint else []
        return [
            *(sys.executable, "-m", "rvm_trt.cli", "build", "--backend", "cpu", "--json"),
            *("--precision", self._precision.value, "--engines", str(self._args.engines)),
            *("--size", f"{profile.width}x{profile.height}", "--ratio", repr(profile.ratio)),
            *("--variant", profile.variant.value, "--refiner", profile.refiner.value),
            *checkpoint,
        ]


@contextmanager
def _backgrounds(
    text: str, source: Source, *, threads: int
) -> Iterator[tuple[str, Mapping[str, Background]]]:
    """Yields what stands behind at first, by name, and everything that the page offers; closes it at the end."""
    with ExitStack() as owned:
        offered = {name: _background(name, source, threads, owned) for name in _OFFERED}
        name = text
        if text not in offered:
            first = _background(text, source, threads, owned)
            name = "#{:02x}{:02x}{:02x}".format(*first) if isinstance(first, tuple) else Path(text).name
            offered = {name: first, **offered}
        yield name, offered


def _background(text: str, source: Source, threads: int, owned: ExitStack) -> Background:
    import numpy as np

    from rvm_trt.commands.background import parse_background

    clip = source.clip
    found = parse_background(
        text,
        width=clip.width,
        height=clip.height,
        pixel_aspect=clip.pixel_aspect,
        start=clip.start,
        threads=threads,
    )
    if found is None:
        return _checks(width=clip.width, height=clip.height)
    if not isinstance(found, (tuple, np.ndarray)):
        owned.enter_context(found)
    return found


def _checks(*, width: int, height: int) -> Image:
    """Returns the chequered picture that stands for transparency, (H, W, 3)."""
    import numpy as np

    side = max(4, min(width, height) // 40)
    y, x = np.mgrid[:height, :width] // side
    return np.repeat(np.where((x + y) % 2, 204, 255).astype(np.uint8)[..., None], 3, axis=2)


async def _serve(
    player: Player, backgrounds: Mapping[str, Background], listener: socket.socket, args: argparse.Namespace
) -> None:
    from rvm_trt.runtime.preview.server import is_loopback, serving

    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if not is_loopback(args.host):
        _say("warning: whoever on the network has this address can watch and control; it is not encrypted.")
    async with serving(
        player, backgrounds=backgrounds, host=args.host, listener=listener, stop=stop
    ) as address:
        print(f"{args.input}: {address} (Ctrl-C ends it)", flush=True)
        if args.open and not await asyncio.to_thread(webbrowser.open, address):
            _say("note: no browser was found; open the address yourself.")
        await stop.wait()


def _check_port(port: int) -> None:
    if not 0 <= port <= 65535:
        raise OptionError(
            "--port",
            got=str(port),
            expected="a number from 0 to 65535",
            todo="Give another port, or 0 for any.",
        )


def _require_server() -> None:
    try:
        import aiohttp  # noqa: F401
    except ModuleNotFoundError:
        raise DependencyError("aiohttp", extra="preview", stage="preview") from None


def _say(text: str) -> None:
    print(text, file=sys.stderr)
