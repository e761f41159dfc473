"""Predictions as MOTChallenge's `det.txt`, with a line for each box.

A line is `frame, id, left, top, width, height, score`. A file is of one video. Frames and pixels are numbered
from 1. Ids are not read. An eighth column may have the class, numbered from 1. In files of one class, it may
be -1 or missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from megavid.core.files.regular_files import check_regular_file, read_text
from megavid.datasets.formats.limits import LARGEST_COORDINATE, LONGEST_VIDEO
from megavid.datasets.formats.mot.mot_rows import parse_values
from megavid.datasets.table.problems import Kind, Problems
from megavid.evaluation.formats.frame_rows import RowCollector
from megavid.evaluation.prediction_table import PredictionTable

FIRST_FRAME = 1
"""Number of the first frame of a video."""

_COLUMNS = 7  # columns that every row has


def is_mot(path: Path) -> bool:
    """Return whether the first line of a text file that is not empty has values separated by commas.

    Raises:
        InputError: The file cannot be read.
    """
    check_regular_file(path)
    try:
        with path.open(encoding="utf-8-sig") as file:
            return "," in next((line for line in file if not line.isspace()), "")
    except (OSError, UnicodeDecodeError):
        return False  # the reader of text explains what is wrong


def read_mot(
    path: Path,
    *,
    video: str,
    class_names: Sequence[str],
    first_frame: int = FIRST_FRAME,
    problems: Problems,
) -> PredictionTable:
    """Read a `det.txt`.

    Args:
        path: The file.
        video: Name of the video.
        class_names: Names of classes 1, 2 and so on. If it is one name, rows need no class.
        first_frame: Number that the file gives the first frame.
        problems: Collects invalid lines.

    Returns:
        The boxes, in frames that are numbered from 0.

    Raises:
        InputError: The file cannot be read; or `problems` does not skip an invalid line.
    """
    rows = RowCollector(path, unit="line")
    for line, text in enumerate(read_text(path).splitlines(), 1):
        if not text.strip():
            continue
        where, values = f"{path}, line {line}", parse_values(text)
        if values is None or len(values) < _COLUMNS:
            expected = "expected frame, id, left, top, width, height, score and perhaps a class"
            problems.add(Kind.BAD_ROW, where, f"{expected}, got {text.strip()[:200]!r}")
            continue
        found = _problem(values, first_frame, len(class_names))
        if found is not None:
            kind, message = found
            problems.add(kind, where, message)
            continue
        x, y, width, height, score = values[2:_COLUMNS]
        box = (x - 1, y - 1, x - 1 + width, y - 1 + height)
        label = max(int(_class(values)), 1) - 1
        rows.add(line, frame=int(values[0]) - first_frame, label=label, score=score, box=box)
    return rows.build_video(video, class_names, problems)


def _class(values: Sequence[float]) -> float:
    """Return the class of a row; -1 for none."""
    return values[_COLUMNS] if len(values) > _COLUMNS else -1.0


def _problem(values: Sequence[float], first_frame: int, classes: int) -> tuple[Kind, str] | None:
    """Return what is wrong with a row, if anything."""
    frame, _, x, y, width, height, score = values[:_COLUMNS]
    if not frame.is_integer() or not first_frame <= frame < first_frame + LONGEST_VIDEO:
        return Kind.BAD_ROW, f"expected a frame from {first_frame}, got {frame:g}"
    if max(map(abs, (x, y, width, height))) > LARGEST_COORDINATE:
        got = ", ".join(f"{value:g}" for value in (x, y, width, height))
        return Kind.BAD_ROW, f"expected a box within {LARGEST_COORDINATE:g} pixels, got {got}"
    if not (width > 0 and height > 0):
        return Kind.INVERTED, f"expected a width and a height above 0, got {width:g} and {height:g}"
    if not 0 <= score <= 1:
        return Kind.BAD_ROW, f"expected a score from 0 to 1, got {score}; rescale all scores of the file"
    return _class_problem(_class(values), classes)


def _class_problem(label: float, classes: int) -> tuple[Kind, str] | None:
    """Return what is wrong with a row's class, if anything."""
    if label == -1 and classes > 1:
        return Kind.UNKNOWN_CLASS, f"expected a class from 1 to {classes} in the eighth column, got none"
    if label != -1 and not (label.is_integer() and 1 <= label <= classes):
        message = f"expected a class from 1 to {classes}, or -1 for none, in the eighth column, got {label:g}"
        return Kind.UNKNOWN_CLASS, message
    return None
