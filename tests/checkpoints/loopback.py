"""A web server on this machine that serves one file, well or badly."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

QUOTA_PAGE = (
    b"<!DOCTYPE html><html><head><title>Google Drive - Quota exceeded</title></head><body>"
    b'<p class="uc-error-subcaption">Too many users have viewed or downloaded this file recently.</p>'
    b"</body></html>"
)


@dataclass
class Served:
    """What the server sends, which a test may change between requests.

    Attributes:
        content: The file.
        breaks_at: Number of bytes of a response after which the connection is closed; None for never.
        extra_length: Number of bytes by which the announced length differs from the file's.
        ranges: Whether the server sends a part of the file when asked for it.
        hold: Event that the server waits for after `breaks_at` bytes, instead of closing the connection.
        status: Status of every response.
        kind: Media type.
        asked: Range of each request; empty if a whole file was asked for.
        sent: Number of bytes sent.
    """

    content: bytes
    breaks_at: int | None = None
    extra_length: int = 0
    ranges: bool = True
    hold: threading.Event | None = None
    status: int = 200
    kind: str = "application/octet-stream"
    asked: list[str] = field(default_factory=list)
    sent: int = 0


@contextmanager
def serve(served: Served) -> Iterator[str]:
    """Serve a file at the address that the context gives."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            served.asked.append(wanted)
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and served.ranges else 0
            size = len(served.content)
            if start >= size > 0:
                self.send_error(416)
                return
            body = served.content[start:]
            self.send_response(206 if start else served.status)
            self.send_header("Content-Type", served.kind)
            self.send_header("Content-Length", str(len(body) + served.extra_length))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
            self.end_headers()
            part = body if served.breaks_at is None else body[: served.breaks_at]
            self.wfile.write(part)
            served.sent += len(part)
            if served.hold is not None:
                self.wfile.flush()
                served.hold.wait(60)
            self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/files/tiny.pth"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
