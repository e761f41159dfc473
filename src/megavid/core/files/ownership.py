"""Recognize files that megavid wrote, which are the only ones that it replaces.

Every output contains a mark if its format has a place for one (`MARKS`). COCO results (a list), ILSVRC's text
format and PyTorch files have none.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

MADE_BY = {"made_by": "megavid"}
"""Mark of a JSON file: the first entry of its object or of its `info`."""

PNG_METADATA = {"Software": "megavid"}
"""Mark of a PNG file, as matplotlib accepts it."""

MOVIE_COMMENT = "made by megavid"
"""Mark of an MP4 file: its comment."""

_BEGINNING = 4096  # bytes
_LARGEST_HEADER = 64 << 20  # bytes


def written_by_megavid(path: Path, *, kind: str | None = None) -> bool | None:
    """Return whether a file has megavid's mark; None if files of its kind have no marks.

    Empty files count as marked, since replacing them loses nothing.

    Args:
        path: A regular file.
        kind: Suffix of files of its kind, such as ".json"; by default the file's own suffix.

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
    """Return arguments of Pillow's `save` that mark PNG and JPEG files; it ignores those of other formats."""
    from PIL.PngImagePlugin import PngInfo  # noqa: PLC0415 - tables are written without Pillow

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
"""For each suffix, a function that reads the part of a file with the mark, and a pattern of the mark."""
