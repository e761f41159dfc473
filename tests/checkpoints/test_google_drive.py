"""Downloads from Google Drive, which a proxy on this machine plays the part of."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from megavid.checkpoints.load import fetch_weights
from megavid.checkpoints.published import find_source
from megavid.checkpoints.weights import FlowNetWeights, read_weights
from megavid.checkpoints.weights_cache import download_path
from megavid.core.errors import InputError
from tests.checkpoints.loopback import QUOTA_PAGE
from tests.official import flownet_shapes, write_official

pytest.importorskip("gdown", reason="the extra `download` is not installed")

HOSTS = ("drive.google.com", "drive.usercontent.google.com")

FLOWNET_ID = "1gib7XtS1fSYDTM9RnUJ72a3vREV_6SJH"

CONFIRMATION = (
    "<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head><body>"
    '<form id="download-form" action="https://drive.usercontent.google.com/download" method="get">'
    '<input type="hidden" name="id" value="{id}"><input type="hidden" name="export" value="download">'
    '<input type="hidden" name="confirm" value="t"></form></body></html>'
)


@dataclass
class Drive:
    """A stand-in for Google Drive with one file.

    Attributes:
        content: The file.
        over_quota: Whether a page takes the place of the file.
        breaks_at: Number of bytes after which a response ends; None for never.
        asked: Host, id and range of each request for the file.
    """

    content: bytes
    over_quota: bool = False
    breaks_at: int | None = None
    asked: list[tuple[str, str, str]] = field(default_factory=list)


def make_server(drive: Drive, certificate: Path) -> ThreadingHTTPServer:
    """Make a proxy that answers for the hosts of Google Drive, as they do for large files."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, certificate.with_suffix(".key"))

    class Handler(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            self.host = self.path.partition(":")[0]
            self.send_response(200)
            self.end_headers()
            self.connection = tls.wrap_socket(self.connection, server_side=True)
            self.rfile = self.connection.makefile("rb")
            self.wfile = self.connection.makefile("wb", 0)
            self.close_connection = False

        def do_GET(self) -> None:
            query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
            if drive.over_quota:
                self.send_page(QUOTA_PAGE)
            elif self.host == HOSTS[0]:
                self.send_response(303)
                self.send_header("Location", f"https://{HOSTS[1]}/download?id={query['id']}&export=download")
                self.send_header("Content-Length", "0")
                self.end_headers()
            elif "confirm" not in query:
                self.send_page(CONFIRMATION.format(id=query["id"]).encode())
            else:
                self.send_file(query["id"])
            self.close_connection = True

        def send_page(self, page: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def send_file(self, file_id: str) -> None:
            wanted = self.headers.get("Range", "")
            drive.asked.append((self.host, file_id, wanted))
            start, size = int(wanted.removeprefix("bytes=").rstrip("-") or 0), len(drive.content)
            self.send_response(206 if start else 200)
            self.send_header("Content-Type", "application/octet-stream")
            self.send_header("Content-Disposition", 'attachment; filename="flownet.pth"')
            self.send_header("Content-Length", str(size - start))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
            self.end_headers()
            end = None if drive.breaks_at is None else start + drive.breaks_at
            self.wfile.write(drive.content[start:end])

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    return ThreadingHTTPServer(("127.0.0.1", 0), Handler)


@pytest.fixture(scope="module")
def flownet(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return FlowNet's file as the original release publishes it, with random weights."""
    path = tmp_path_factory.mktemp("flownet") / "flownet.pth"
    return write_official(path, flownet_shapes(), buffers=False).read_bytes()


@pytest.fixture
def drive(flownet: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Drive]:
    """Let all requests go to a stand-in for Google Drive."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl, which makes the certificate, is not installed")
    certificate = tmp_path / "drive.pem"
    names = ",".join(f"DNS:{host}" for host in HOSTS)
    subject = ["-subj", f"/CN={HOSTS[0]}", "-addext", f"subjectAltName={names}"]
    files = ["-keyout", str(certificate.with_suffix(".key")), "-out", str(certificate)]
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject, *files],
        check=True,
        capture_output=True,
    )
    found = Drive(flownet)
    server = make_server(found, certificate)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    monkeypatch.setenv("MEGAVID_CACHE", str(tmp_path / "cache"))
    yield found
    server.shutdown()
    server.server_close()
    thread.join()


def test_name_is_downloaded_from_drive_after_its_confirmation(
    drive: Drive, capsys: pytest.CaptureFixture[str]
) -> None:
    path = fetch_weights("flownet")
    assert drive.asked == [(HOSTS[1], FLOWNET_ID, "")]
    assert isinstance(read_weights(path), FlowNetWeights)
    assert "license: non-commercial (original MEGA release)" in capsys.readouterr().err


def test_download_from_drive_is_continued(drive: Drive) -> None:
    drive.breaks_at = len(drive.content) // 5
    with pytest.raises(InputError, match="Download is incomplete: received"):
        fetch_weights("flownet")
    [part] = download_path_of("flownet").parent.glob("*.part")
    received = part.stat().st_size
    assert received > len(drive.content) // 5  # more than one attempt's
    drive.breaks_at, drive.asked = None, []
    assert isinstance(read_weights(fetch_weights("flownet")), FlowNetWeights)
    assert drive.asked[-1] == (HOSTS[1], FLOWNET_ID, f"bytes={received}-")


def test_page_about_the_quota_of_drive_is_quoted(drive: Drive) -> None:
    drive.over_quota = True
    with pytest.raises(InputError, match="Too many users have viewed or downloaded this file") as error:
        fetch_weights("flownet")
    message = str(error.value)
    assert message.startswith(f"https://drive.google.com/uc?id={FLOWNET_ID}: cannot be downloaded: ")
    assert message.endswith(f"; try again, or download it by hand to {download_path_of('flownet')}")
    drive.over_quota = False
    assert isinstance(read_weights(fetch_weights("flownet")), FlowNetWeights)


def download_path_of(name: str) -> Path:
    source = find_source(name)
    assert source is not None
    return download_path(source)
