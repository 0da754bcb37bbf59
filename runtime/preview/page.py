"""The page: one document with its style and script in it, and a policy under which nothing else runs."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files

_PARTS = {"/* style */": "preview.css", "/* script */": "preview.js"}


def load_page() -> tuple[bytes, str]:
    """Returns the document, and its content security policy."""
    folder = files("rvm_trt.runtime.preview") / "templates"
    text = (folder / "preview.html").read_text(encoding="utf-8")
    hashes = []
    for mark, name in _PARTS.items():
        part = (folder / name).read_text(encoding="utf-8")
        hashes.append(base64.b64encode(hashlib.sha256(part.encode()).digest()).decode())
        text = text.replace(mark, part)
    style, script = hashes
    policy = (
        f"default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{script}'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return text.encode(), policy
