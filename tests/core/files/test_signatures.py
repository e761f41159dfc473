"""Describing files by their first bytes."""

from __future__ import annotations

import io
import os
import pickle
import struct
import tarfile
from pathlib import Path

import pytest

from megavid.core.errors import InputError
from megavid.core.files.signatures import describe_content, read_head


def _tar() -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("storages"))
    return made.getvalue()[:1024]


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"", "an empty file"),
        (bytes(100), "a file of zeros"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 123\n", "a Git LFS pointer"),
        (b"<!DOCTYPE html><html>Google Drive - Virus scan warning</html>", "a web page"),
        (b"\xef\xbb\xbf\r\n <!-- saved --> <HTML lang='en'>", "a web page"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "an XML text"),
        (b'{"error": "Repository not found"}', "a JSON text"),
        ("Zugriff verweigert, größer".encode(), "a text ('Zugriff verweigert, größer')"),
        (b"PK\x03\x04rest", "a zip archive"),
        (b"\x1f\x8b\x08rest", "a gzip archive, which has to be unpacked first"),
        (_tar(), "a tar archive"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras and MATLAB 7.3 write"),
        (struct.pack("<Q", 20) + b'{"a": {"dtype"', "a safetensors file"),
        (pickle.dumps({"a": 1}), "a Python pickle"),
        (b"\x00\x00\x00\x1cftypisom", "an MP4 or MOV video, or a HEIF image"),
        (b"\x08\x01\x12\x07pytorch\x00", "something else"),
    ],
)
def test_files_are_described_by_their_first_bytes(head: bytes, kind: str) -> None:
    assert describe_content(head).startswith(kind)


def test_the_first_bytes_of_text_may_end_within_a_character() -> None:
    assert describe_content(("x" + "é" * 600).encode()[:1024]).startswith("a text ('xéé")


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"a" * 2000)
    assert read_head(tmp_path / "text") == b"a" * 1024
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    for name in ("", "pipe", "device", "nothing"):
        with pytest.raises(InputError, match="expected an? |no such file"):
            read_head(tmp_path / name)
