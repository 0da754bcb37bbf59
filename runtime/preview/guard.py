"""Who may ask: the checks that keep other pages in the same browser, and other machines, out."""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::\d{1,5})?")


@dataclass(frozen=True, kw_only=True)
class Guard:
    """Checks the headers of a request.

    A page elsewhere can make its own name point to this machine and then passes for the same origin (DNS rebinding);
    so a request must name a host that nobody else can own. The port is free, for tunnels.

    Attributes:
        names: host names by which the preview may be asked for, in lower case, beside addresses.
        loopback: whether it can be reached from this machine only: then addresses must be its own.
        token: what the address must carry; None where nothing.
    """

    names: frozenset[str]
    loopback: bool
    token: str | None

    def knows_host(self, headers: Mapping[str, str]) -> bool:
        """Whether the request names a host that can be meant."""
        match = _HOST.fullmatch(headers.get("Host", ""))
        if match is None:
            return False
        name = match[1].strip("[]").lower()
        if name in self.names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or not self.loopback

    def same_origin(self, headers: Mapping[str, str]) -> bool:
        """Whether the request comes from the preview's own page; every browser says so where it matters."""
        origin, host = headers.get("Origin", ""), headers.get("Host", "")
        return origin in (f"http://{host}", f"https://{host}")

    def has_token(self, given: str | None) -> bool:
        """Whether the address carries the token, if one is needed."""
        if self.token is None:
            return True
        return given is not None and hmac.compare_digest(given.encode(), self.token.encode())
