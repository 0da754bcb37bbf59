"""Times as users write them: ``90``, ``1:30``, ``0:01:30.5``."""

from __future__ import annotations

import re

from rvm_trt.errors import OptionError

_TIME = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d*)?|\.\d+)")


def parse_time(text: str, *, subject: str) -> float:
    """Returns seconds; raises `OptionError` where ``text`` is no time. Minutes and seconds below hours end at 59."""
    found = _TIME.fullmatch(text.strip())
    if found is not None:
        hours, minutes, seconds = (float(part or 0) for part in found.groups())
        small = (found[2] is None or seconds < 60) and (found[1] is None or minutes < 60)
        if small:
            return 3600 * hours + 60 * minutes + seconds
    raise OptionError(
        subject,
        got=repr(text),
        expected="seconds, or hours, minutes and seconds as 1:30 or 0:01:30.5",
        todo="Write the time in one of these forms.",
    )
