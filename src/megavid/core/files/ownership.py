"""Recognize files that megavid wrote, since megavid replaces only such files.

Every output whose format has a place for a mark contains one (`MARKS`). COCO results, which are a JSON list,
ILSVRC's text format and PyTorch files have no such place.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

MADE_BY = {"made_by": "megavid"}
"""Mark of a JSON file: the first entry of its top-level object, or of the object `info` in it."""

PNG_METADATA = {"Software": "megavid"}
"""Mark of a PNG file, as matplotlib accepts it."""

MOVIE_COMMENT = "made by megavid"
"""Mark of an MP4 file: the comment in its metadata."""

_BEGINNING = 4096  # bytes
_LARGEST_HEADER = 64 << 20  # bytes


def written_by_megavid(path: Path, *, kind: str | None = None) -> bool | None:
    """Return whether a file has megavid's mark; None if its format has no place for a mark.

    Empty files count as marked, since replacing them loses nothing.

    Args:
        path: A regular file.
        kind: Suffix that stands for the format, such as ".json"; by default the suffix of `path`.

    Raises:
        OSError: The file cannot be read.
    """
    if path.stat().st_size == 0:
        return True
    kind = path.suffix.lower() if kind is None else kind
    if kind not in MARKS:
        return None
    part, mark = MARKS[kind]
    with path.open("rb") as file:
        return re.search(mark, part(file)) is not None


def json_by_megavid(path: Path) -> bool | None:
    """Return whether a JSON file of any name has megavid's mark."""
    return written_by_megavid(path, kind=".json")


def anything(path: Path) -> bool:
    """Accept any file, for paths that only megavid uses."""
    return True


def picture_marks() -> dict[str, Any]:
    """Return arguments that make Pillow's `save` mark PNG and JPEG files.

    For other formats, `save` ignores these arguments.
    """
    from PIL.PngImagePlugin import PngInfo  # noqa: PLC0415 - writing tables must not require Pillow

    info = PngInfo()
    for key, value in PNG_METADATA.items():
        info.add_text(key, value)
    return {"pnginfo": info, "comment": "megavid"}


def _beginning(file: BinaryIO) -> bytes:
    return file.read(_BEGINNING)


def _comment(file: BinaryIO) -> bytes:
    start = file.read(_BEGINNING)
    return start if start.startswith(b"#") else b""


def _safetensors_header(file: BinaryIO) -> bytes:
    return file.read(min(int.from_bytes(file.read(8), "little"), _LARGEST_HEADER))


def _parquet_footer(file: BinaryIO) -> bytes:
    size = file.seek(0, 2)
    if size < 12:
        return b""
    file.seek(-8, 2)
    length, magic = int.from_bytes(file.read(4), "little"), file.read(4)
    if magic != b"PAR1" or length > min(size - 12, _LARGEST_HEADER):
        return b""
    file.seek(size - 8 - length)
    return file.read(length)


def _movie_header(file: BinaryIO) -> bytes:
    """Read the `moov` box of an MP4 file, which has to come before the frames."""
    for _ in range(4):
        length, name = int.from_bytes(file.read(4), "big"), file.read(4)
        if name == b"moov":
            return file.read(min(length, _LARGEST_HEADER))
        if length < 8:
            return b""
        file.seek(length - 8, 1)
    return b""


MARKS: dict[str, tuple[Callable[[BinaryIO], bytes], bytes]] = {
    ".json": (_beginning, b'"made_by": "megavid"'),
    ".jsonl": (_beginning, rb'^\{"step": '),
    ".html": (_beginning, b'<meta name="generator" content="megavid">'),
    ".yaml": (_comment, b"made by megavid"),
    ".png": (_beginning, rb"Software\0megavid"),
    ".jpg": (_beginning, rb"\xff\xfe\x00\x09megavid"),
    ".mp4": (_movie_header, MOVIE_COMMENT.encode()),
    ".safetensors": (_safetensors_header, b'"format":"megavid"'),
    # Parquet encodes the key "megavid" and its value, a JSON object, in Thrift's compact protocol.
    ".parquet": (_parquet_footer, rb"\x18\x07megavid\x18[\x80-\xff]{0,4}[\x00-\x7f]\{\""),
}
"""For each suffix, a function that reads the part of a file that contains the mark, and a regular expression
that finds the mark in this part."""
