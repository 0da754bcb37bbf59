"""The preview's server: the page at ``/``, and pictures and controls over one WebSocket at ``/stream``."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from aiohttp import WSCloseCode, web

from rvm_trt.errors import OptionError
from rvm_trt.runtime.preview.controls import Controls
from rvm_trt.runtime.preview.guard import Guard
from rvm_trt.runtime.preview.page import load_page
from rvm_trt.runtime.preview.parts import Background
from rvm_trt.runtime.preview.player import Player
from rvm_trt.runtime.preview.viewer import Viewer, describe

_MOST_VIEWERS = 8
_LONGEST_MESSAGE_BYTES = 1024
_HEARTBEAT_S = 20.0
_PATIENCE_S = 1.0  # with a browser that does not answer, at the end
_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(
    player: Player,
    *,
    backgrounds: Mapping[str, Background],
    host: str,
    listener: socket.socket,
    stop: asyncio.Event,
) -> AsyncIterator[str]:
    """Serves the preview, and yields its address. At the end no connection, task or port is left.

    Where ``host`` can be reached from other machines, the address carries a token, without which nothing is served.

    Args:
        player: what is shown and controlled.
        backgrounds: the backgrounds that the page offers by name.
        host: the name or address that ``listener`` was opened with.
        listener: as `listen` opened it; it is closed.
        stop: is set when the player has ended by itself.
    """
    loopback = is_loopback(host)
    token = None if loopback else secrets.token_urlsafe(16)
    names = {"localhost", host.lower()} | (set() if loopback else {socket.gethostname().lower()})
    guard = Guard(names=frozenset(names), loopback=loopback, token=token)
    site = _Site(player, guard, backgrounds, stop)
    runner = web.AppRunner(
        site.application(), access_log=None, shutdown_timeout=_PATIENCE_S, lingering_time=_PATIENCE_S
    )
    await runner.setup()
    loop = asyncio.get_running_loop()
    try:
        player.listen(lambda: loop.call_soon_threadsafe(site.wake))
        address = _address(host, listener.getsockname()[1], token)
        await web.SockSite(runner, listener).start()
        yield address
    finally:
        player.listen(None)
        await runner.cleanup()


def listen(host: str, port: int) -> socket.socket:
    """Returns an open port. Who connects waits until it is served.

    Args:
        host: name or address to listen on.
        port: its number; 0 for one that is free.

    Raises:
        OptionError: the host or the port cannot be used.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except (OSError, UnicodeError) as error:
        busy = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise OptionError(
            "--port" if busy else "--host",
            got=f"{port}, which is in use" if busy else f"{host!r} with port {port} ({why})",
            expected="a free port" if busy else "a host and a port that this machine can listen on",
            todo="Give another port, or 0 for any." if busy else "Give another --host or --port.",
        ) from None


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own, which no other can reach."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class _Site:
    """The routes, and who is connected."""

    def __init__(
        self, player: Player, guard: Guard, backgrounds: Mapping[str, Background], stop: asyncio.Event
    ) -> None:
        self._player = player
        self._guard = guard
        self._controls = Controls(player, backgrounds)
        self._about = describe(player.clip, backgrounds)
        self._page, self._policy = load_page()
        self._viewers: set[Viewer] = set()
        self._stop = stop

    def application(self) -> web.Application:
        application = web.Application(middlewares=[self._check], client_max_size=_LONGEST_MESSAGE_BYTES)
        application.router.add_get("/", self._show)
        application.router.add_get("/stream", self._stream)
        application.on_response_prepare.append(self._add_headers)
        application.on_shutdown.append(self._send_away)
        return application

    def wake(self) -> None:
        """Tells every viewer that there may be something new."""
        for viewer in self._viewers:
            viewer.wake()
        if self._player.ended:
            self._stop.set()

    @web.middleware
    async def _check(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not self._guard.knows_host(request.headers):
            raise web.HTTPMisdirectedRequest(text="This host name is not the preview's.")
        if not self._guard.has_token(request.query.get("token")):
            raise web.HTTPForbidden(text="Use the whole address that was printed.")
        if request.body_exists:
            raise web.HTTPRequestEntityTooLarge(max_size=0, actual_size=request.content_length or 1)
        return await handler(request)

    async def _show(self, _request: web.Request) -> web.StreamResponse:
        return web.Response(
            body=self._page,
            content_type="text/html",
            charset="utf-8",
            headers={"Content-Security-Policy": self._policy},
        )

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        if not self._guard.same_origin(request.headers):
            raise web.HTTPForbidden(text="Only the preview's own page may ask for this.")
        if len(self._viewers) >= _MOST_VIEWERS:
            raise web.HTTPServiceUnavailable(text="Too many viewers.")
        socket_ = web.WebSocketResponse(
            max_msg_size=_LONGEST_MESSAGE_BYTES, heartbeat=_HEARTBEAT_S, timeout=_PATIENCE_S, compress=False
        )
        await socket_.prepare(request)
        viewer = Viewer(socket_, self._player, self._controls, about=self._about)
        self._viewers.add(viewer)
        try:
            await viewer.serve()
        finally:
            self._viewers.discard(viewer)
        return socket_

    async def _add_headers(self, _request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(_HEADERS)

    async def _send_away(self, _application: web.Application) -> None:
        for viewer in list(self._viewers):
            await viewer.close(code=WSCloseCode.GOING_AWAY, reason="stopped")


def _address(host: str, port: int, token: str | None) -> str:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = host
    else:
        name = _own_address() if address.is_unspecified else host
        name = f"[{name}]" if ":" in name else name
    return f"http://{name}:{port}/" + ("" if token is None else f"?token={token}")


def _own_address() -> str:
    """Returns the address by which other machines most likely reach this one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # A datagram socket only looks up its route; nothing is sent to this address, which is for documentation.
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        name: str = probe.getsockname()[0]
        return name
