"""A server of S3 on this machine, which a test may cut off."""

from __future__ import annotations

import logging
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from moto.server import ThreadedMotoServer

BUCKET = "bucket"


class S3Server:
    """A server with one bucket, whose files stay while it is stopped.

    Attributes:
        url: Address of the server.
    """

    def __init__(self) -> None:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request
        self._port = 0
        self._server: ThreadedMotoServer | None = None
        self.start()
        self.url = f"http://127.0.0.1:{self._port}"
        self._request("PUT", BUCKET)

    def start(self) -> None:
        """Answer requests, on the same port as before."""
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=self._port, verbose=False)
        self._server.start()
        _, self._port = self._server.get_host_and_port()

    def stop(self) -> None:
        """Refuse connections."""
        if self._server is not None:
            self._server.stop()
        self._server = None

    @property
    def is_running(self) -> bool:
        """Whether the server answers."""
        return self._server is not None

    def set_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Point this process, and those that it starts, to the server."""
        monkeypatch.setenv("AWS_ENDPOINT_URL", self.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)

    def check_keys(self, check: bool) -> None:
        """Refuse all keys, or accept all keys."""
        self._request("POST", "moto-api/reset-auth", b"0" if check else b"1000000000")

    def _request(self, method: str, path: str, data: bytes | None = None) -> None:
        request = urllib.request.Request(f"{self.url}/{path}", data=data, method=method)
        # A header that looks signed tells the server that this is for S3.
        request.add_header(
            "Authorization", "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/s3/aws4_request"
        )
        request.add_header("Content-Type", "application/octet-stream")
        urllib.request.urlopen(request).close()


@contextmanager
def s3_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """Start a server, and point the environment to it."""
    server = S3Server()
    server.set_environment(monkeypatch)
    try:
        yield server
    finally:
        server.stop()
