"""The preview's server, asked as a page asks it and as others might."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import re
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import aiohttp
import numpy as np
import pytest
from PIL import Image

from rvm_trt.errors import OptionError
from rvm_trt.runtime.preview.guard import Guard
from rvm_trt.runtime.preview.server import listen, serving

Start = Callable[..., Any]
Ask = Callable[..., Any]
DRAWN = {"do": "drawn"}


class Client:
    """A page without a browser."""

    def __init__(self, http: aiohttp.ClientSession, address: str) -> None:
        self.http = http
        self.address = address

    @property
    def origin(self) -> str:
        return self.address.split("?")[0].rstrip("/")

    def connect(self, **headers: str) -> Any:
        path, _, query = self.address.partition("?")
        address = f"{path.replace('http:', 'ws:')}stream?{query}"
        return self.http.ws_connect(address, headers={"Origin": self.origin, **headers})

    async def status(self, path: str = "/", *, method: str = "GET", **options: Any) -> int:
        async with self.http.request(method, self.origin + path, **options) as answer:
            return answer.status


def parse(data: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray[Any, Any]]]:
    """The header and the pictures of a message."""
    size = int.from_bytes(data[:4], "little")
    header, start, pictures = json.loads(data[4 : 4 + size]), 4 + size, {}
    for name, length in header["pictures"]:
        pictures[name] = np.asarray(Image.open(io.BytesIO(data[start : start + length])), int)
        start += length
    assert start == len(data)
    return header, pictures


async def receive(stream: Any) -> tuple[dict[str, Any], dict[str, np.ndarray[Any, Any]]]:
    return parse(await stream.receive_bytes(timeout=20))


async def received(stream: Any, wanted: Callable[[dict[str, Any]], bool]) -> Any:
    """Draws messages until one's status is wanted; returns it and the latest pictures."""
    pictures: dict[str, Any] = {}
    while True:
        header, fresh = await receive(stream)
        pictures.update(fresh)
        if wanted(header["status"]):
            return header, pictures
        await stream.send_json(DRAWN)


def serve(
    player: Any,
    *,
    backgrounds: Any = None,
    host: str = "127.0.0.1",
    port: int = 0,
    stop: asyncio.Event | None = None,
) -> Any:
    return serving(
        player,
        backgrounds=backgrounds or {},
        host=host,
        listener=listen(host, port),
        stop=stop or asyncio.Event(),
    )


@pytest.fixture
def ask(start: Start, fakes: SimpleNamespace) -> Ask:
    """``ask(test, player, host=)`` runs an async test with a client of a served player."""

    def run(test: Callable[[Client], Awaitable[None]], player: Any = None, *, host: str = "127.0.0.1") -> Any:
        served = player or start(watched=False)

        async def main() -> None:
            async with (
                serve(served, backgrounds=fakes.BACKGROUNDS, host=host) as address,
                aiohttp.ClientSession() as http,
            ):
                await test(Client(http, address))

        asyncio.run(main())
        return served

    return run


def test_the_page_is_whole_and_only_its_own_parts_run(ask: Ask) -> None:
    async def test(client: Client) -> None:
        async with client.http.get(client.address) as answer:
            text, policy = await answer.text(), answer.headers["Content-Security-Policy"]
            assert answer.headers["X-Frame-Options"] == "DENY"
            assert answer.headers["Cache-Control"] == "no-store"
        assert not re.search(r"(https?:)?//\w", text.replace("://", ""))
        for tag in ("style", "script"):
            (part,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
            assert len(part) > 1000
            digest = base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()
            assert f"{tag}-src 'sha256-{digest}'" in policy
        assert policy.startswith("default-src 'none'")

    ask(test)


def test_nothing_else_is_there(ask: Ask) -> None:
    async def test(client: Client) -> None:
        for path in (
            "/preview.js",
            "/templates/preview.html",
            "/../setup.cfg",
            "/%2e%2e/setup.cfg",
            "//etc/passwd",
        ):
            assert await client.status(path) == 404, path
        assert await client.status(method="POST") == 405
        assert await client.status(method="POST", data=b"x" * 5000) == 413
        assert await client.status(data=b"x" * 5_000_000) == 413
        assert await client.status("/stream") == 403

    ask(test)


@pytest.mark.parametrize(
    ("host", "here", "everywhere"),
    [
        ("localhost:8000", True, True),
        ("127.0.0.1", True, True),
        ("[::1]:80", True, True),
        ("STUDIO:8000", True, True),
        ("192.168.1.5:8000", False, True),
        ("[fe80::1]:8000", False, True),
        ("evil.example", False, False),
        ("127.0.0.1.evil.example", False, False),
        ("localhost.evil.example:8000", False, False),
        ("localhost:80:80", False, False),
        ("localhost@evil.example", False, False),
        ("", False, False),
    ],
)
def test_hosts_that_others_can_own_are_refused(host: str, here: bool, everywhere: bool) -> None:
    names = frozenset({"localhost", "studio"})
    for loopback, expected in ((True, here), (False, everywhere)):
        guard = Guard(names=names, loopback=loopback, token=None)
        assert guard.knows_host({"Host": host}) is expected


def test_a_rebound_name_is_refused(ask: Ask) -> None:
    async def test(client: Client) -> None:
        for path in ("/", "/stream"):
            assert await client.status(path, headers={"Host": "evil.example"}) == 421
        assert await client.status(headers={"Host": "localhost:9"}) == 200

    ask(test)


def test_only_the_own_page_may_connect(ask: Ask) -> None:
    async def test(client: Client) -> None:
        for origin in ("http://evil.example", "http://127.0.0.1:1", "null", ""):
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                await client.connect(Origin=origin)
            assert caught.value.status == 403
        async with client.connect() as stream:
            await receive(stream)

    ask(test)


def test_from_other_machines_a_token_is_needed(ask: Ask) -> None:
    async def test(client: Client) -> None:
        _, _, token = client.address.partition("?token=")
        assert len(token) >= 20
        assert await client.status() == await client.status("/?token=") == 403
        assert await client.status(f"/?token={token[:-1]}") == 403
        assert await client.status(f"/?token={token}é") == 403
        assert await client.status("/stream", headers={"Origin": client.origin}) == 403
        assert await client.status(f"/?token={token}") == 200
        async with client.connect() as stream:
            await receive(stream)

    ask(test, host="0.0.0.0")


def test_a_page_is_told_what_is_played_and_then_shown_it(ask: Ask, fakes: SimpleNamespace) -> None:
    async def test(client: Client) -> None:
        async with client.connect() as stream:
            header, _ = await receive(stream)
            assert header["about"]["name"] == "talk.mp4"
            assert header["about"]["aspect"] == pytest.approx(64 / 48)
            assert header["about"]["backgrounds"] == {"green": "#78ff9b", "blue": "#0000ff", "picture": None}
            await stream.send_json(DRAWN)
            header, pictures = await received(stream, lambda status: status["frame"] is not None)
            assert "about" not in header
            assert list(pictures) == ["source", "alpha", "composite"]
            assert {picture.shape[:2] for picture in pictures.values()} == {(48, 64)}
            grey = fakes.grey_of(header["status"]["frame"])
            assert np.abs(pictures["source"][:32] - grey).max() <= 4
            assert np.abs(pictures["composite"][:, :24] - fakes.GREEN).max() <= 12
            assert np.abs(pictures["composite"][:32, 40:] - grey).max() <= 12
            assert pictures["alpha"][:, :24].max() <= 4
            assert pictures["alpha"][:, 40:].min() >= 251

    ask(test)


def test_a_page_gets_what_it_shows_no_larger_than_it_shows_it(ask: Ask) -> None:
    async def test(client: Client) -> None:
        async with client.connect() as stream:
            await stream.send_json({"do": "look", "views": ["alpha"], "width": 30})
            while True:
                _, pictures = await receive(stream)
                if list(pictures) == ["alpha"]:
                    break
                await stream.send_json(DRAWN)
            assert pictures["alpha"].shape == (24, 32)

    ask(test)


def test_a_slow_page_misses_frames_and_is_never_behind(
    ask: Ask, start: Start, fakes: SimpleNamespace
) -> None:
    player = start(fakes.Source(100_000, said=100_000), watched=False)

    async def test(client: Client) -> None:
        async with client.connect() as stream:
            header, _ = await received(stream, lambda status: status["frame"] is not None)
            seen = header["status"]["frame"]
            while player.update()[0].frame < seen + 10:
                await asyncio.sleep(0.01)
            with pytest.raises(asyncio.TimeoutError):
                await stream.receive(timeout=0.05)
            now = player.update()[0].frame
            await stream.send_json(DRAWN)
            header, _ = await receive(stream)
            assert header["status"]["frame"] >= now

    ask(test, player)


def test_controls_reach_the_player(ask: Ask, start: Start, fakes: SimpleNamespace) -> None:
    session, maker = fakes.Session(), fakes.Maker()
    player = start(None, session, maker, watched=False)

    async def test(client: Client) -> None:
        async with client.connect() as stream:
            await stream.send_json({"do": "pause"})
            await received(stream, lambda status: not status["playing"])
            await stream.send_json(DRAWN)
            await stream.send_json({"do": "seek", "frame": 5})
            await received(stream, lambda status: status["frame"] == 5)
            for wish, behind in (("blue", fakes.BLUE), ("#102030", (16, 32, 48)), ("picture", (9, 9, 9))):
                await stream.send_json({"do": "background", "to": wish})
                await stream.send_json(DRAWN)
                await received(stream, lambda status, wish=wish: status["background"] == wish)
                await stream.send_json(DRAWN)
                while not (session.dressed and (np.asarray(session.dressed[-1]) == behind).all()):
                    await asyncio.sleep(0.01)
            await stream.send_json({"do": "ratio", "to": 0.5})
            await received(stream, lambda status: status["network"] == [32, 24])
            await stream.send_json(DRAWN)
            await stream.send_json({"do": "restart"})
            await received(stream, lambda status: status["playing"])
            assert maker.asked == [0.5]

    ask(test, player)


@pytest.mark.parametrize(
    "message",
    [
        "",
        "[]",
        "[" * 900,
        '{"do": "open", "path": "/etc/passwd"}',
        '{"do": ["play"]}',
        '{"do": "seek"}',
        '{"do": "seek", "frame": -1}',
        '{"do": "seek", "frame": 1.5}',
        '{"do": "seek", "frame": true}',
        '{"do": "background", "to": "/etc/passwd"}',
        '{"do": "background", "to": "#12345"}',
        '{"do": "background", "to": ["blue"]}',
        '{"do": "ratio", "to": 0}',
        '{"do": "ratio", "to": NaN}',
        '{"do": "ratio", "to": "0.5"}',
        '{"do": "look", "views": [], "width": 5}',
        '{"do": "look", "views": [{}], "width": 5}',
        '{"do": "look", "views": ["alpha"], "width": 99999}',
    ],
)
def test_what_no_page_sends_ends_the_connection_and_does_nothing(
    ask: Ask, start: Start, fakes: SimpleNamespace, message: str
) -> None:
    session, maker = fakes.Session(), fakes.Maker()
    player = start(None, session, maker, watched=False)

    async def test(client: Client) -> None:
        async with client.connect() as stream:
            await stream.send_str(message)
            while (await stream.receive(timeout=20)).type is aiohttp.WSMsgType.BINARY:
                pass
            assert stream.close_code == 1008

    ask(test, player)
    assert player.update()[0].background == "green"
    assert maker.asked == []


def test_long_and_binary_messages_end_the_connection(ask: Ask) -> None:
    async def test(client: Client) -> None:
        for message, code in (("x" * 5000, 1009), (b"{}", 1003)):
            async with client.connect() as stream:
                await (stream.send_str(message) if isinstance(message, str) else stream.send_bytes(message))
                while (await stream.receive(timeout=20)).type is aiohttp.WSMsgType.BINARY:
                    pass
                assert stream.close_code == code

    ask(test)


def test_there_is_room_for_so_many_and_more_once_one_goes(ask: Ask) -> None:
    async def test(client: Client) -> None:
        streams = [await client.connect() for _ in range(8)]
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await client.connect()
        assert caught.value.status == 503
        await streams.pop().close()
        while True:
            try:
                streams.append(await client.connect())
                break
            except aiohttp.WSServerHandshakeError:
                await asyncio.sleep(0.01)
        for stream in streams:
            await stream.close()

    ask(test)


def test_the_show_waits_when_the_last_page_has_gone(ask: Ask, start: Start, fakes: SimpleNamespace) -> None:
    session = fakes.Session()
    player = start(None, session, watched=False)

    async def test(client: Client) -> None:
        async with client.connect() as stream:
            await received(stream, lambda status: status["frame"] is not None)
        seen = -1
        while seen != len(session.seen):
            seen = len(session.seen)
            await asyncio.sleep(0.1)

    ask(test, player)
    assert player.update()[0].playing


def test_at_the_end_pages_are_told_and_the_port_is_free(start: Start) -> None:
    player = start(watched=False)

    async def main() -> None:
        async with aiohttp.ClientSession() as http:
            async with serve(player) as address:
                stream = await Client(http, address).connect()
                port = int(address.rstrip("/").rsplit(":", 1)[1])
                with pytest.raises(OptionError, match=f"--port: got {port}, which is in use"):
                    listen("127.0.0.1", port)
                closing = asyncio.create_task(_closed(stream))
            assert await closing == (1001, "stopped")
            async with serve(player, port=port) as again:
                assert again == address
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


async def _closed(stream: Any) -> tuple[int, str]:
    while (message := await stream.receive(timeout=20)).type is not aiohttp.WSMsgType.CLOSE:
        pass
    return message.data, message.extra


def test_an_error_of_ours_stops_the_server(start: Start, fakes: SimpleNamespace) -> None:
    session = fakes.Session()
    player = start(None, session)

    async def main() -> None:
        stop = asyncio.Event()
        async with serve(player, stop=stop):
            session.error = ZeroDivisionError("ours")
            await asyncio.wait_for(stop.wait(), 20)

    asyncio.run(main())
    with pytest.raises(ZeroDivisionError):
        player.close()
    player.close = lambda: None  # the fixture's own
