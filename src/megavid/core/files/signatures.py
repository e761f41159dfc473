"""Identify the content of a file from its first bytes, for messages about unexpected files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from megavid.core.errors import InputError
from megavid.core.files.regular_files import check_regular_file

HEAD = 1024
"""Number of bytes at the start of a file that are examined."""

_BEGINNINGS = {
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x8b": "a gzip archive, which has to be unpacked first",
    b"BZh": "a bzip2 archive, which has to be unpacked first",
    b"\xfd7zXZ\x00": "an xz archive, which has to be unpacked first",
    b"\x28\xb5\x2f\xfd": "a Zstandard archive, which has to be unpacked first",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive, which has to be unpacked first",
    b"Rar!": "a RAR archive, which has to be unpacked first",
    b"\x89HDF": "an HDF5 file, as Keras and MATLAB 7.3 write",
    b"MATLAB 5.0": "a MATLAB file",
    b"\x93NUMPY": "a NumPy array",
    b"PAR1": "a Parquet file",
    b"SQLite format 3": "an SQLite data base",
    b"GGUF": "a GGUF model",
    b"%PDF": "a PDF",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"RIFF": "a WebP image, an AVI video or a sound",
    b"\x1aE\xdf\xa3": "a Matroska or WebM video",
    b"\x7fELF": "a program",
    b"MZ": "a program",
    b"\x80\x02": "a Python pickle",
    b"\x80\x03": "a Python pickle",
    b"\x80\x04": "a Python pickle",
    b"\x80\x05": "a Python pickle",
}

_WEB_PAGE = re.compile(rb"\s*(<!--.*?-->\s*)?<(!doctype\s+html|html|head|body)", re.IGNORECASE | re.DOTALL)

_GIT_LFS = b"version https://git-lfs"


def read_head(path: Path) -> bytes:
    """Read the first `HEAD` bytes of a regular file.

    Raises:
        InputError: The file is missing, not a regular file, or cannot be read.
    """
    check_regular_file(path)
    try:
        with path.open("rb") as file:
            return file.read(HEAD)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error


def describe_content(head: bytes) -> str:
    """Describe the content of a file by a noun phrase.

    Args:
        head: The first `HEAD` bytes, or the whole file if it is shorter.
    """
    return next(kind for holds, kind in _kinds(head) if holds)


def _kinds(head: bytes) -> Iterator[tuple[bool, str]]:
    """Yield descriptions, the most reliable first, each preceded by whether it applies to the file."""
    yield not head, "an empty file"
    yield head.startswith(_GIT_LFS), "a Git LFS pointer, in place of a file that `git lfs pull` fetches"
    page = _WEB_PAGE.match(head.removeprefix(b"\xef\xbb\xbf")) is not None
    yield page, "a web page, such as that of a download which asks for a confirmation or a login"
    for beginning, kind in _BEGINNINGS.items():
        yield head.startswith(beginning), kind
    yield head[4:8] == b"ftyp", "an MP4 or MOV video, or a HEIF image"
    yield head[257:262] == b"ustar", "a tar archive"
    yield is_safetensors(head), "a safetensors file"
    yield not head.strip(b"\x00"), "a file of zeros"
    text = _text(head)
    yield text.startswith("<"), "an XML text"
    yield text.startswith(("{", "[")), "a JSON text"
    yield bool(text), f"a text ({' '.join(text.split())[:40]!r})"
    yield True, "something else"


def is_safetensors(head: bytes) -> bool:
    """Return whether a file starts like a safetensors file: with the length of its header, then JSON."""
    return len(head) > 9 and head[5:8] == b"\x00\x00\x00" and head[8:9] == b"{"


def _text(head: bytes) -> str:
    """Decode the text at the start of a file; return an empty string if the file is not text."""
    try:  # `head` may end in the middle of a character
        text = head.decode("utf-8", errors="strict" if len(head) < HEAD else "ignore")
    except UnicodeDecodeError:
        return ""
    return "" if any(ord(c) < 32 and c not in "\t\n\r\f" for c in text) else text.lstrip("\ufeff \r\n\t")
