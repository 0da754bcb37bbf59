"""The text of a plan's programs: nested blocks of ``key=value``, read in one pass over the characters."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

# A string with escapes, a mark, a word; last, a quote that is never closed.
_TOKEN = re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)"|([{}=])|([^\s"{}=]+)|(\S)', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_MAX_DEPTH = 16
_MAX_BITS = 64


@dataclass(frozen=True, kw_only=True)
class Block:
    """What stands between two braces, in order.

    Attributes:
        entries: key and value; the key is empty where a value stands alone, as in ``{ 1 3 270 480 }``.
    """

    entries: list[tuple[str, str | Block]] = field(default_factory=list)

    def text(self, key: str, default: str = "") -> str:
        """Returns the first text under a key, or the default."""
        return next(
            (value for name, value in self.entries if name == key and isinstance(value, str)), default
        )

    def number(self, key: str, default: int = 0) -> int:
        """Returns the first whole number under a key, or the default.

        Raises:
            ValueError: it is no number, or one of more than 64 bits.
        """
        value = int(self.text(key, str(default)))
        if value.bit_length() > _MAX_BITS:
            raise ValueError(f"a number of more than {_MAX_BITS} bits as {key!r}")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """Returns the texts that stand alone in the first block under a key; none where there is no such block."""
        block = next(self.blocks(key), Block())
        return tuple(value for name, value in block.entries if not name and isinstance(value, str))

    def blocks(self, key: str) -> Iterator[Block]:
        """Yields the blocks under a key, in order."""
        return (value for name, value in self.entries if name == key and isinstance(value, Block))


def parse_blocks(text: str) -> Block:
    """Returns the block of everything in a text.

    Raises:
        ValueError: the text is not of this form; the message says where.
    """
    open_blocks = [Block()]
    key, valued = "", False  # a word that may be a key, and whether '=' followed it
    for token in _TOKEN.finditer(text):
        string, mark, word, stray = token.groups()
        if stray is not None:
            raise ValueError(f"a string without an end at character {token.start()}")
        inner = open_blocks[-1].entries
        if mark == "=":
            if not key or valued:
                raise ValueError(f"'=' without a key at character {token.start()}")
            valued = True
        elif mark == "{":
            if len(open_blocks) == _MAX_DEPTH:
                raise ValueError(f"more than {_MAX_DEPTH} braces deep at character {token.start()}")
            open_blocks.append(Block())
            inner.append((key, open_blocks[-1]))
            key, valued = "", False
        elif valued:
            if mark == "}":
                raise ValueError(f"a key without a value at character {token.start()}")
            inner.append((key, _plain(string, word)))
            key, valued = "", False
        else:
            if key:
                inner.append(("", key))
            key = word or ""
            if string is not None:
                inner.append(("", _plain(string, word)))
            if mark == "}":
                open_blocks.pop()
                if not open_blocks:
                    raise ValueError(f"a brace too many at character {token.start()}")
    if len(open_blocks) > 1 or valued:
        raise ValueError("braces that are not closed")
    return open_blocks[0]


def _plain(string: str | None, word: str) -> str:
    return word if string is None else _ESCAPE.sub(r"\1", string)
