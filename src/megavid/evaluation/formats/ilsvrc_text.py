"""Predictions in the text format of ILSVRC's evaluation kits, with a line for each box.

A line is `frame class score xmin ymin xmax ymax`. Frames and classes of the data set are numbered from 1, and
xmax and ymax are the coordinates of the box's last pixel.
"""

from __future__ import annotations

from pathlib import Path

from megavid.core.errors import InputError
from megavid.core.files.atomic import atomic_path
from megavid.core.files.regular_files import check_regular_file
from megavid.datasets.table.annotations import Annotations
from megavid.datasets.table.problems import Kind, Problems
from megavid.evaluation.boxes import Boxes
from megavid.evaluation.formats.frame_rows import RowCollector, each_row
from megavid.evaluation.prediction_table import PredictionTable

_VALUES = "frame, class, score, xmin, ymin, xmax, ymax"


def read_text(path: Path, annotations: Annotations, *, problems: Problems) -> PredictionTable:
    """Read predictions in ILSVRC's text format.

    Args:
        path: The file.
        annotations: The data set that the predictions belong to.
        problems: Collects invalid lines.

    Raises:
        InputError: The file cannot be read; or `problems` does not skip an invalid line.
    """
    check_regular_file(path)
    rows = RowCollector(path, unit="line")
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if not line.isspace():
                    _read_line(line, number, rows, path=path, annotations=annotations, problems=problems)
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: cannot be read: it is not text") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    return rows.build(annotations, problems)


def write_text(path: Path, annotations: Annotations, found: Boxes) -> None:
    """Write predictions in ILSVRC's text format.

    Args:
        path: The file to write; it appears whole or not at all.
        annotations: The data set.
        found: Detections in the data set's frames.

    Raises:
        InputError: The file cannot be written.
    """
    with atomic_path(path) as aside, aside.open("w", encoding="utf-8") as file:
        for frame, label, score, (x1, y1, x2, y2) in each_row(found):
            file.write(f"{frame + 1} {label + 1} {score:.9g} {x1:.9g} {y1:.9g} {x2 - 1:.9g} {y2 - 1:.9g}\n")


def _read_line(
    line: str, number: int, rows: RowCollector, *, path: Path, annotations: Annotations, problems: Problems
) -> None:
    where = f"{path}, line {number}"
    try:
        frame, label, score, x1, y1, x2, y2 = map(float, line.split())
    except ValueError:
        problems.add(Kind.BAD_ROW, where, f"expected {_VALUES}, got {line.strip()[:200]!r}")
        return
    if not (frame.is_integer() and 1 <= frame <= len(annotations)):
        message = f"expected a frame from 1 to {len(annotations)}, got {frame:g}"
        problems.add(Kind.NO_FRAME, where, message)
    elif not (label.is_integer() and 1 <= label <= len(annotations.classes)):
        message = f"expected a class from 1 to {len(annotations.classes)}, got {label:g}"
        problems.add(Kind.UNKNOWN_CLASS, where, message)
    else:
        box = (x1, y1, x2 + 1, y2 + 1)
        rows.add(number, frame=int(frame) - 1, label=int(label) - 1, score=score, box=box)
