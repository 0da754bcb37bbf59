"""What a page may ask for: its messages are checked here, and become calls of the player."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from rvm_trt.errors import OptionError
from rvm_trt.runtime.preview.parts import Background
from rvm_trt.runtime.preview.pictures import VIEWS, Look
from rvm_trt.runtime.preview.player import Player

_WIDEST = 4096
_LAST_FRAME = 2**53  # what a browser counts to exactly
_COLOUR = re.compile("#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})")

Message = dict[str, Any]


class Controls:
    """Obeys messages. Names in them are looked up in what was given here, and nowhere else.

    Args:
        player: what is controlled.
        backgrounds: the backgrounds that can be named. Colours as ``#78ff9b`` always can.
    """

    def __init__(self, player: Player, backgrounds: Mapping[str, Background]) -> None:
        self._player = player
        self._backgrounds = backgrounds
        self._actions: Mapping[str, Callable[[Message], None]] = {
            "play": lambda _: player.play(),
            "pause": lambda _: player.pause(),
            "restart": lambda _: player.restart(),
            "seek": lambda message: player.seek(
                _number(message, "frame", low=0, high=_LAST_FRAME), rough=message.get("rough") is True
            ),
            "background": self._set_background,
            "ratio": lambda message: player.use_ratio(_ratio(message)),
        }

    def obey(self, message: Message) -> None:
        """Does what a message says.

        Raises:
            OptionError: the message is none of those a page sends; nothing is done.
        """
        do = message["do"]
        if do not in self._actions:
            raise _refused("do", do, f"one of {', '.join(self._actions)}")
        self._actions[do](message)

    def _set_background(self, message: Message) -> None:
        name = message.get("to")
        if isinstance(name, str) and name in self._backgrounds:
            self._player.set_background(name, self._backgrounds[name])
            return
        match = _COLOUR.fullmatch(name) if isinstance(name, str) else None
        if match is None:
            raise _refused(
                "background", name, f"a colour as #78ff9b, or one of {', '.join(self._backgrounds)}"
            )
        red, green, blue = (int(part, 16) for part in match.groups())
        self._player.set_background(match[0], (red, green, blue))


def read_message(text: str) -> Message:
    """Returns a message of a page, a JSON object whose ``do`` is a string; raises `OptionError` otherwise."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict) or not isinstance(message.get("do"), str):
        raise _refused("message", text, "a JSON object that says what to do")
    return message


def read_look(message: Message) -> Look:
    """Returns what a page shows, as it says itself; raises `OptionError` where that makes no sense."""
    views = message.get("views")
    if not isinstance(views, list) or not 1 <= len(views) <= len(VIEWS) or any(v not in VIEWS for v in views):
        raise _refused("views", views, f"some of {', '.join(VIEWS)}")
    return Look(views=tuple(views), width=_number(message, "width", low=1, high=_WIDEST))


def _ratio(message: Message) -> float:
    value = message.get("to")
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 1:
        raise _refused("ratio", value, "a number above 0 and at most 1")
    return float(value)


def _number(message: Message, key: str, *, low: int, high: int) -> int:
    value = message.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise _refused(key, value, f"an integer from {low} to {high}")
    return value


def _refused(subject: str, got: object, expected: str) -> OptionError:
    return OptionError(subject, got=repr(got)[:80], expected=expected, todo="Load the page again.")
