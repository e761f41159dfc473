"""Predictions from and to files of all formats, by suffix.

| suffix | what |
|---|---|
| .parquet | megavid's own |
| .pth | the original release's `predictions.pth` |
| .txt | ILSVRC's text format |
| .json | COCO results |

All but the first know a frame by its place in the data set, and need the data set.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from megavid.core.errors import InputError
from megavid.datasets.table.annotations import Annotations
from megavid.datasets.table.problems import Problems
from megavid.evaluation.boxes import Boxes
from megavid.evaluation.formats.coco_results import read_coco, write_coco
from megavid.evaluation.formats.ilsvrc_text import read_text, write_text
from megavid.evaluation.formats.parquet_table import read_parquet, write_parquet
from megavid.evaluation.locate import locate
from megavid.evaluation.prediction_table import PredictionTable


def _read_official(path: Path, annotations: Annotations, *, problems: Problems) -> PredictionTable:
    from megavid.evaluation.formats.official_pth import read_official  # noqa: PLC0415 - imports torch

    return read_official(path, annotations, problems=problems)


def _write_official(path: Path, annotations: Annotations, found: Boxes) -> None:
    from megavid.evaluation.formats.official_pth import write_official  # noqa: PLC0415 - imports torch

    write_official(path, annotations, found)


_FORMATS = {
    ".pth": (_read_official, _write_official),
    ".txt": (read_text, write_text),
    ".json": (read_coco, write_coco),
}
_SUFFIXES = ", ".join((".parquet", *_FORMATS))


def open_predictions(path: Path, annotations: Annotations, *, problems: Problems) -> PredictionTable:
    """Read predictions of any of the formats.

    Args:
        path: The file.
        annotations: The data set that they are of.
        problems: Where rows go that make no sense.

    Raises:
        InputError: The file is missing, broken or none of the formats; or see `problems`.
    """
    if path.suffix == ".parquet":
        return read_parquet(path, problems=problems)
    if path.suffix not in _FORMATS:
        raise InputError(f"{path}: expected predictions that end in {_SUFFIXES}")
    read, _ = _FORMATS[path.suffix]
    return read(path, annotations, problems=problems)


def write_predictions(
    predictions: PredictionTable, annotations: Annotations, path: Path, *, problems: Problems
) -> None:
    """Write predictions in the format of the path's suffix.

    Args:
        predictions: What was detected.
        annotations: The data set that it is of.
        path: The file to write; it appears whole or not at all.
        problems: Where predictions go that the data set has no place for.

    Raises:
        InputError: The suffix is none of the formats, or the file cannot be written; or see `problems`.
    """
    if path.suffix == ".parquet":
        write_parquet(predictions, path)
        return
    if path.suffix not in _FORMATS:
        raise InputError(f"{path}: expected a name that ends in {_SUFFIXES}")
    located = locate(predictions, annotations, problems=problems)
    rows, frame, label = located.rows, located.frame, located.label
    if (frame[1:] < frame[:-1]).any():
        order = np.argsort(frame, kind="stable")
        rows, frame, label = rows[order], frame[order], label[order]
    found = Boxes(frame, predictions.boxes[rows], label, predictions.scores[rows])
    _, write = _FORMATS[path.suffix]
    write(path, annotations, found)
