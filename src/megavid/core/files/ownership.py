"""Recognize the files that megavid wrote, the only ones that it replaces.

Whatever megavid writes says so, where its format has a place for it (`MARKS`). An existing file is replaced
only if it has that mark. COCO results (a list), ILSVRC's text and PyTorch files have no such place.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

MADE_BY = {"made_by": "megavid"}
"""The mark of a JSON file: an entry of its object, or of its `info`, at the beginning."""

PNG_METADATA = {"Software": "megavid"}
"""The mark of a PNG file, as matplotlib takes it."""

MOVIE_COMMENT = "made by megavid"
"""The mark of an MP4 file, as its comment."""

_BEGINNING = 4096  # bytes
_LONGEST = 64 << 20  # bytes of a header or footer that are looked at


def written_by_megavid(path: Path, *, kind: str | None = None) -> bool | None:
    """Return whether a file is an output, by its mark; None where its kind has none.

    An empty file counts as one: there is nothing in it to lose.

    Args:
        path: An ordinary file.
        kind: A suffix that says what kind of file it should be, such as ".json"; by default its own.

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
    """Return whether a file is a JSON output, whatever its name."""
    return written_by_megavid(path, kind=".json")


def anything(path: Path) -> bool:
    """Take any file for an output: for folders and names that are megavid's own."""
    return True


def picture_marks() -> dict[str, Any]:
    """The marks of PNG and JPEG files as arguments of Pillow's `save`, which uses the one that fits."""
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
    return file.read(min(int.from_bytes(file.read(8), "little"), _LONGEST))


def _parquet_footer(file: BinaryIO) -> bytes:
    size = file.seek(0, 2)
    if size < 12:
        return b""
    file.seek(-8, 2)
    length, magic = int.from_bytes(file.read(4), "little"), file.read(4)
    if magic != b"PAR1" or length > min(size - 12, _LONGEST):
        return b""
    file.seek(size - 8 - length)
    return file.read(length)


def _movie_header(file: BinaryIO) -> bytes:
    """The `moov` box of an MP4 file whose header comes before the pictures."""
    for _ in range(4):
        length, name = int.from_bytes(file.read(4), "big"), file.read(4)
        if name == b"moov":
            return file.read(min(length, _LONGEST))
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
    # The key "megavid" in Thrift's compact protocol, and a JSON object as its value.
    ".parquet": (_parquet_footer, rb"\x18\x07megavid\x18[\x80-\xff]{0,4}[\x00-\x7f]\{\""),
}
"""For each suffix, the part of the file that contains the mark, and a pattern of the mark."""
