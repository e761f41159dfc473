"""Read and check the rows of megavid's CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from megavid.core.errors import InputError
from megavid.core.files.regular_files import read_text
from megavid.core.ranges import LARGEST_EXACT
from megavid.core.text import listed
from megavid.datasets.formats.box_csv.write_box_csv import COLUMNS
from megavid.datasets.formats.class_names import class_name
from megavid.datasets.formats.json_values import shown
from megavid.datasets.formats.limits import LARGEST_COORDINATE
from megavid.datasets.table.annotations import NO_TRACK
from megavid.datasets.table.problems import BadRowError, Kind, Problems

NEEDED = ("video", "frame", "class", "x1", "y1", "x2", "y2")
"""Columns that a file must have. `score` and `time` are not read, and the others may be missing."""

_BOX = ("class", "x1", "y1", "x2", "y2")


class CsvBox(NamedTuple):
    """The box of a row.

    Attributes:
        name: Name of the class.
        corners: Half-open x1 y1 x2 y2 in pixels.
        track: Track id, or `NO_TRACK`.
        interpolated: Whether a program made the box from other boxes.
    """

    name: str
    corners: tuple[float, float, float, float]
    track: int
    interpolated: bool


class CsvRow(NamedTuple):
    """A row of a file.

    Attributes:
        where: The file and the line, for messages.
        video: Name of the video.
        frame: Frame number, from 0.
        file: Image file of the frame; "" if the row does not name it.
        box: The box; None if the row only says that the frame is labeled.
    """

    where: str
    video: str
    frame: int
    file: str
    box: CsvBox | None


def read_rows(path: Path, problems: Problems) -> Iterator[CsvRow]:
    """Yield the valid rows of a file.

    Args:
        path: The file, whose first line has the names of the columns.
        problems: Collects invalid rows.

    Raises:
        InputError: The file cannot be read, or a column is unknown, missing or repeated; or see `problems`.
    """
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        header = next(reader, [])
        _check_header(header, path)
        for cells in reader:
            if not any(cells):
                continue
            where = f"{path}, line {reader.line_num}"
            try:
                row = _row(header, cells, where)
            except BadRowError as error:
                problems.add(error.kind, where, str(error))
                continue
            yield row
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: expected CSV: {error}") from error


def _check_header(header: list[str], path: Path) -> None:
    where, expected = f"{path}, line 1", ", ".join(COLUMNS)
    missing = [name for name in NEEDED if name not in header]
    if missing:
        raise InputError(
            f"{where}: column {missing[0]!r} is missing: expected {expected}, separated by commas, got "
            f"{shown(','.join(header))}"
        )
    unknown = [name for name in header if name not in COLUMNS]
    if unknown:
        raise InputError(f"{where}: column {shown(unknown[0])} is unknown: expected {expected}")
    if len(set(header)) < len(header):
        raise InputError(f"{where}: expected each column once, got {listed(header)}")


def _row(header: list[str], cells: list[str], where: str) -> CsvRow:
    if len(cells) != len(header):
        raise BadRowError(f"expected {len(header)} values, as the first line has, got {len(cells)}")
    row = dict(zip(header, cells, strict=True))
    video = row["video"]
    if not video.strip() or video != video.strip() or "\0" in video:
        raise BadRowError(f"expected the name of a video without blanks around it, got {shown(video)}")
    return CsvRow(where, video, _whole(row, "frame"), row.get("file", ""), _box(row))


def _box(row: dict[str, str]) -> CsvBox | None:
    if not any(row[name] for name in _BOX):
        return None
    name = class_name(row["class"])
    if name is None or name != name.strip():
        raise BadRowError(f"expected the name of a class without blanks around it, got {shown(row['class'])}")
    x1, y1, x2, y2 = (_coordinate(row, key) for key in _BOX[1:])
    if not (x2 > x1 and y2 > y1):
        message = f"expected x1 < x2 and y1 < y2, got {x1:g}, {y1:g}, {x2:g}, {y2:g}"
        raise BadRowError(message, Kind.INVERTED)
    track = _whole(row, "track") if row.get("track") else NO_TRACK
    interpolated = row.get("interpolated") or "0"
    if interpolated not in {"0", "1"}:
        raise BadRowError(f"expected interpolated as 0 or 1, got {shown(interpolated)}")
    return CsvBox(name, (x1, y1, x2, y2), track, interpolated == "1")


def _whole(row: dict[str, str], key: str) -> int:
    number = _number(row[key])
    if number is None or not number.is_integer() or not 0 <= number <= LARGEST_EXACT:
        raise BadRowError(
            f"expected {key} as a whole number from 0 to {LARGEST_EXACT}, got {shown(row[key])}"
        )
    return int(number)


def _coordinate(row: dict[str, str], key: str) -> float:
    number = _number(row[key])
    if number is None or abs(number) > LARGEST_COORDINATE:
        raise BadRowError(f"expected {key} as a number of pixels, got {shown(row[key])}")
    return number


def _number(text: str) -> float | None:
    try:
        number = float(text.replace("_", "?"))  # Python allows 1_000
    except ValueError:
        return None
    return number if math.isfinite(number) else None
