"""One page that watches: it is sent a message only when it has drawn the one before."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from rvm_trt.errors import OptionError
from rvm_trt.runtime.preview.controls import Controls, read_look, read_message
from rvm_trt.runtime.preview.parts import Background, Picture, Status
from rvm_trt.runtime.preview.pictures import Look, encode
from rvm_trt.runtime.preview.player import Player
from rvm_trt.runtime.video.source import STANDARD_INPUT, Clip


def describe(clip: Clip, backgrounds: Mapping[str, Background]) -> dict[str, Any]:
    """Returns what a page is told of a clip at first, as JSON values."""
    return {
        "name": "standard input" if str(clip.path) == STANDARD_INPUT else clip.path.name,
        "width": clip.width,
        "height": clip.height,
        "aspect": float(clip.width * clip.pixel_aspect / clip.height),
        "fps": float(clip.rate),
        "live": clip.live,
        "backgrounds": {
            name: "#{:02x}{:02x}{:02x}".format(*background) if isinstance(background, tuple) else None
            for name, background in backgrounds.items()
        },
    }


class Viewer:
    """Sends pictures and status to one page, and obeys what it asks for.

    The page answers each message when it has drawn it. Until then nothing is sent, and what comes in between is
    dropped but for the latest: a slow browser sees fewer frames, no older ones.

    Args:
        connection: an open WebSocket.
        player: what is shown.
        controls: what obeys the page.
        about: what the page is told first.
    """

    def __init__(
        self, connection: web.WebSocketResponse, player: Player, controls: Controls, *, about: dict[str, Any]
    ) -> None:
        self._connection = connection
        self._player = player
        self._controls = controls
        self._about: dict[str, Any] | None = about
        self._look = Look()
        self._sent: tuple[Status, int | None, Look] | None = None
        self._news = asyncio.Event()
        self._drawn = asyncio.Event()
        self._news.set()
        self._drawn.set()

    def wake(self) -> None:
        """Says that there may be something new."""
        self._news.set()

    async def serve(self) -> None:
        """Serves the page until it goes away."""
        tasks = [asyncio.create_task(self._send()), asyncio.create_task(self._receive())]
        try:
            with self._player.watched():
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()

    async def close(self, *, code: int, reason: str) -> None:
        """Ends the connection, and says why."""
        await self._connection.close(code=code, message=reason.encode())

    async def _receive(self) -> None:
        async for message in self._connection:
            if message.type is not WSMsgType.TEXT:
                await self.close(code=WSCloseCode.UNSUPPORTED_DATA, reason="text is expected")
                continue
            try:
                self._obey(message.data)
            except OptionError as error:
                await self.close(code=WSCloseCode.POLICY_VIOLATION, reason=f"{error.subject} is refused")

    def _obey(self, text: str) -> None:
        message = read_message(text)
        if message["do"] == "drawn":
            self._drawn.set()
        elif message["do"] == "look":
            self._look = read_look(message)
            self._news.set()
        else:
            self._controls.obey(message)

    async def _send(self) -> None:
        while True:
            await self._drawn.wait()
            await self._news.wait()
            self._news.clear()
            status, picture = self._player.update()
            now = (status, None if picture is None else picture.serial, self._look)
            if now == self._sent:
                continue
            self._drawn.clear()
            fresh = self._sent is None or now[1:] != self._sent[1:]
            message = await self._encoded(status, picture if fresh else None)
            self._sent, self._about = now, None
            try:
                await self._connection.send_bytes(message)
            except ConnectionError:
                return  # the page has gone

    async def _encoded(self, status: Status, picture: Picture | None) -> bytes:
        header: dict[str, Any] = {"status": status.to_json()}
        if self._about is not None:
            header["about"] = self._about
        return await asyncio.to_thread(encode, header, picture, self._look)
