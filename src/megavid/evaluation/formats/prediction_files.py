"""Read and write predictions in any format; the suffix of the file determines the format.

| suffix | format |
|---|---|
| .parquet | megavid's own |
| .pth | the original release's `predictions.pth` |
| .txt | MOT's `det.txt`, whose values are separated by commas, or ILSVRC's text format |
| .json | COCO results, or COCO annotations with scores |

The original release's format, ILSVRC's text format and COCO results identify a frame by its row or id in the
data set. MOT's format is read, but not written.
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
from megavid.evaluation.formats.mot_detections import is_mot, read_mot
from megavid.evaluation.formats.parquet_table import read_parquet, write_parquet
from megavid.evaluation.locate import locate
from megavid.evaluation.prediction_table import PredictionTable


def _read_official(path: Path, annotations: Annotations, *, problems: Problems) -> PredictionTable:
    from megavid.evaluation.formats.official_pth import read_official  # noqa: PLC0415 - imports torch

    return read_official(path, annotations, problems=problems)


def _write_official(path: Path, annotations: Annotations, found: Boxes) -> None:
    from megavid.evaluation.formats.official_pth import write_official  # noqa: PLC0415 - imports torch

    write_official(path, annotations, found)


def _read_text(path: Path, annotations: Annotations, *, problems: Problems) -> PredictionTable:
    if not is_mot(path):
        return read_text(path, annotations, problems=problems)
    if len(annotations.videos) != 1:
        raise InputError(
            f"{path}: is of one video, whose name MOT's format lacks; expected a data set of one video, got "
            f"{len(annotations.videos)}"
        )
    [video] = annotations.videos
    if len(annotations) and annotations.number.min() == 1:
        raise InputError(
            f"{path}: counts frames from 1, as the data seem to do, whose first frame is 1; expected data "
            "that count from 0, since it is not known which of their frames is frame 1 of the file"
        )
    return read_mot(path, video=video, class_names=annotations.classes, problems=problems)


_FORMATS = {
    ".pth": (_read_official, _write_official),
    ".txt": (_read_text, write_text),
    ".json": (read_coco, write_coco),
}
_SUFFIXES = ", ".join((".parquet", *_FORMATS))


def check_format(path: Path) -> None:
    """Check that the suffix of a file to read stands for a format.

    Raises:
        InputError: It does not.
    """
    if path.suffix not in {".parquet", *_FORMATS}:
        raise InputError(f"{path}: expected predictions that end in {_SUFFIXES}")


def open_predictions(path: Path, annotations: Annotations, *, problems: Problems) -> PredictionTable:
    """Read predictions in the format that the path's suffix stands for.

    Args:
        path: The file.
        annotations: The data set that the predictions belong to.
        problems: Collects invalid rows.

    Raises:
        InputError: The file is missing, broken or in no known format; or `problems` does not skip an invalid
            row.
    """
    check_format(path)
    if path.suffix == ".parquet":
        return read_parquet(path, problems=problems)
    read, _ = _FORMATS[path.suffix]
    return read(path, annotations, problems=problems)


def write_predictions(
    predictions: PredictionTable, annotations: Annotations, path: Path, *, problems: Problems
) -> None:
    """Write predictions in the format that the path's suffix stands for.

    Args:
        predictions: The predictions.
        annotations: The data set that the predictions belong to.
        path: The file to write; it appears whole or not at all.
        problems: Collects predictions whose video, frame or class the data set lacks.

    Raises:
        InputError: No known format has this suffix, the file cannot be written, or `problems` does not skip a
            prediction whose video, frame or class the data set lacks.
    """
    if path.suffix == ".parquet":
        write_parquet(predictions, path)
        return
    if path.suffix not in _FORMATS:
        raise InputError(f"{path}: expected a name that ends in {_SUFFIXES}")
    located = locate(predictions, annotations, problems=problems)
    found = located.boxes(predictions)
    if (found.frame[1:] < found.frame[:-1]).any():
        found = found.take(np.argsort(found.frame, kind="stable"))
    _, write = _FORMATS[path.suffix]
    write(path, annotations, found)
