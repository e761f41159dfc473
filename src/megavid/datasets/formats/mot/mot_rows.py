"""Read and check the rows of MOT's `gt.txt`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from megavid.core.files.regular_files import read_text
from megavid.core.ranges import LARGEST_EXACT
from megavid.datasets.formats.limits import LARGEST_COORDINATE
from megavid.datasets.table.annotations import NO_TRACK
from megavid.datasets.table.problems import Kind, Problems


class Row(NamedTuple):
    """The box of an object in one frame.

    Attributes:
        line: Line number in the file, from 1.
        frame: Frame number, from 1.
        track: Track id, or `NO_TRACK`.
        box: Half-open x1 y1 x2 y2 in pixels, counted from 0; the file counts pixels from 1.
        considered: Whether the object counts in an evaluation.
        label: Class number, from 1; 0 if the row has no class or class -1.
        visible: Visible share of the object, from 0 to 1.
    """

    line: int
    frame: int
    track: int
    box: tuple[float, float, float, float]
    considered: bool
    label: int
    visible: float


@dataclass(frozen=True)
class Rows:
    """The valid rows of a file.

    Attributes:
        path: The file.
        rows: The rows in the order of the file.
        unclear: Whether it is unclear if the eighth of ten columns has world coordinates, as in MOT15, or
            classes. This is so if the column has only integers, of which some are above 0. If all are 1, the
            rows are read in the same way in both cases, so nothing is unclear.
        counts_from_zero: Whether classes seem to be numbered from 0, since some rows have class 0 and others
            have a class above 0.
    """

    path: Path
    rows: Sequence[Row]
    unclear: bool
    counts_from_zero: bool

    def frames(self) -> dict[int, list[Row]]:
        """Return the rows of each frame by its number, ascending."""
        frames: dict[int, list[Row]] = {}
        for row in self.rows:
            frames.setdefault(row.frame, []).append(row)
        return dict(sorted(frames.items()))


def read_rows(path: Path, problems: Problems) -> Rows:
    """Read a `gt.txt` of 6 to 10 columns.

    Args:
        path: The file.
        problems: Collects invalid lines.

    Raises:
        InputError: The file cannot be read; or see `problems`.
    """
    rows: list[Row] = []
    seen: set[tuple[int, int]] = set()
    eighth_of_ten: set[float] = set()  # world coordinates, as in MOT15, or classes
    classes: set[float] = set()
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        values = parse_values(line)
        if values is None:
            expected = "expected frame, id, left, top, width, height and perhaps more numbers"
            problems.add(Kind.BAD_ROW, where, f"{expected}, got {line.strip()!r}")
            continue
        row = _checked(number, values, where, problems)
        if row is None:
            continue
        if row.track != NO_TRACK and (row.frame, row.track) in seen:
            message = f"object {row.track} is in frame {row.frame} twice"
            problems.add(Kind.DUPLICATE_BOX, where, message)
            continue
        seen.add((row.frame, row.track))
        rows.append(row)
        (eighth_of_ten if len(values) >= _MOT15 else classes).update(values[7:8])
    unclear = max(eighth_of_ten, default=0) > 0 and all(value.is_integer() for value in eighth_of_ten)
    return Rows(
        path,
        rows,
        unclear=unclear and eighth_of_ten != {1},
        counts_from_zero=0 in classes and max(classes) > 0,
    )


_MOT15 = 10
"""Number of columns in MOT15's files, of which the last three are world coordinates."""


def parse_values(line: str) -> list[float] | None:
    """Parse the numbers of a line; return None if one is not a finite number, or there are less than six."""
    try:
        values = [float(value) for value in line.rstrip(", \t\r").split(",")]
    except ValueError:
        return None
    return values if len(values) >= 6 and all(map(math.isfinite, values)) else None


def _checked(line: int, values: Sequence[float], where: str, problems: Problems) -> Row | None:
    """Convert the numbers of a line to a row; if they are invalid, add a problem and return None."""
    frame, track, x, y, width, height = values[:6]
    label = values[7] if 7 < len(values) < _MOT15 else 0.0
    wrong = [
        f"expected a whole number up to {LARGEST_EXACT} as {name}, got {value:g}"
        for name, value in (("frame", frame), ("id", track), ("class", label))
        if not value.is_integer() or abs(value) > LARGEST_EXACT
    ]
    if frame < 1:
        wrong.append(f"expected a frame from 1, got {frame:g}")
    if max(map(abs, (x, y, width, height))) > LARGEST_COORDINATE:
        wrong.append(
            f"expected a box within {LARGEST_COORDINATE:g} pixels, got {x:g}, {y:g}, {width:g}, {height:g}"
        )
    if wrong:
        problems.add(Kind.BAD_ROW, where, wrong[0])
        return None
    if not (width > 0 and height > 0):
        message = f"expected a width and a height above 0, got {width:g} and {height:g}"
        problems.add(Kind.INVERTED, where, message)
        return None
    return Row(
        line=line,
        frame=int(frame),
        track=int(track),
        box=(x - 1, y - 1, x - 1 + width, y - 1 + height),
        considered=bool(values[6]) if len(values) > 6 else True,
        label=max(int(label), 0),
        visible=values[8] if len(values) == 9 and values[8] >= 0 else 1,
    )
