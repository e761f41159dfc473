"""Predictions from and to other programs' files, by suffix.

| suffix | what |
|---|---|
| .parquet | megavid's own |
| .pth | the original release's `predictions.pth` |
| .txt | ILSVRC: a line a box, `frame class score xmin ymin xmax ymax`; from 1, the last pixel in |
| .json | COCO results: `image_id`, `category_id`, `bbox` (x, y, width, height), `score` |

All but the first know a frame by its place in the data set, and need the data set.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megavid.core.annotations import Annotations
from megavid.core.errors import InputError
from megavid.core.files import atomic_path
from megavid.core.problems import Kind, Problems
from megavid.evaluation import official
from megavid.evaluation.locate import locate
from megavid.evaluation.table import Predictions, load_predictions, save_predictions, without_bad_rows

_Columns = tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]
"""Rows of the data set's frames (N,), labels (N,), scores (N,) and half-open boxes (N, 4)."""

_LAST_PIXEL = (0, 0, 1, 1)


def open_predictions(path: Path, annotations: Annotations, *, problems: Problems) -> Predictions:
    """Read predictions of any of the formats.

    Args:
        path: The file.
        annotations: The data set that they are of.
        problems: Where rows go that make no sense.

    Raises:
        InputError: The file is missing, broken or none of the formats; or see `problems`.
    """
    if path.suffix == ".parquet":
        return load_predictions(path, problems=problems)
    readers = {".pth": _read_official, ".txt": _read_text, ".json": _read_coco}
    if path.suffix not in readers:
        raise InputError(f"{path}: expected predictions that end in .parquet, {', '.join(readers)}")
    columns = readers[path.suffix](path, annotations, problems)
    return without_bad_rows(_table(path, annotations, columns), problems)


def write_predictions(
    predictions: Predictions, annotations: Annotations, path: Path, *, problems: Problems
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
        save_predictions(predictions, path)
        return
    writers = {".pth": _write_official, ".txt": _write_text, ".json": _write_coco}
    if path.suffix not in writers:
        raise InputError(f"{path}: expected a name that ends in .parquet, {', '.join(writers)}")
    located = locate(predictions, annotations, problems=problems)
    order = np.argsort(located.frame, kind="stable")
    rows = located.rows[order]
    columns = (located.frame[order], located.label[order], predictions.scores[rows], predictions.boxes[rows])
    writers[path.suffix](path, annotations, columns)


def _table(path: Path, annotations: Annotations, columns: _Columns) -> Predictions:
    frame, labels, scores, boxes = columns
    return Predictions(
        videos=annotations.videos,
        video=annotations.video[frame],
        frame=annotations.number[frame],
        labels=labels.astype(np.int32),
        scores=scores.astype(np.float32),
        boxes=boxes.astype(np.float32).reshape(-1, 4),
        class_names=annotations.classes,
        lengths=None,
        origin=path,
    )


def _read_official(path: Path, annotations: Annotations, problems: Problems) -> _Columns:
    frames = list(official.read_frames(path, annotations))
    number = np.repeat(np.arange(len(frames)), [len(boxes) for boxes, _, _ in frames])
    boxes, labels, scores = (
        (np.concatenate([f[i] for f in frames]) for i in range(3)) if frames else [np.zeros(0)] * 3
    )
    return number, labels, scores, boxes


def _write_official(path: Path, annotations: Annotations, columns: _Columns) -> None:
    frame, labels, scores, boxes = columns
    ends = np.searchsorted(frame, np.arange(len(annotations) + 1))

    def frames() -> Iterator[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]]:
        for first, end in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True):
            yield boxes[first:end], labels[first:end], scores[first:end]

    official.write_frames(path, frames(), annotations)


def _read_text(path: Path, annotations: Annotations, problems: Problems) -> _Columns:
    rows: list[list[float]] = []
    for number, line in enumerate(_read(path).splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = [float(value) for value in line.split()]
            if len(row) != 7:
                raise ValueError
        except ValueError:
            expected = "expected frame, class, score, xmin, ymin, xmax, ymax"
            problems.add(Kind.BAD_ROW, f"{path}, line {number}", f"{expected}, got {line.strip()!r}")
            continue
        if not 1 <= row[0] <= len(annotations):
            message = f"expected a frame from 1 to {len(annotations)}, got {row[0]:g}"
            problems.add(Kind.NO_FRAME, f"{path}, line {number}", message)
            continue
        rows.append(row)
    table = np.array(rows).reshape(-1, 7)
    return table[:, 0].astype(np.int64) - 1, table[:, 1] - 1, table[:, 2], table[:, 3:] + _LAST_PIXEL


def _write_text(path: Path, annotations: Annotations, columns: _Columns) -> None:
    frame, labels, scores, boxes = columns
    corners = boxes.astype(np.float64) - _LAST_PIXEL
    with atomic_path(path) as aside, aside.open("w") as file:
        for f, label, score, box in zip(
            frame.tolist(), labels.tolist(), scores.tolist(), corners.tolist(), strict=True
        ):
            file.write(f"{f + 1} {label + 1} {score:.9g} {' '.join(f'{x:.9g}' for x in box)}\n")


def _read_coco(path: Path, annotations: Annotations, problems: Problems) -> _Columns:
    try:
        entries = json.loads(_read(path))
    except ValueError as error:
        raise InputError(f"{path}: expected COCO results as JSON: {error}") from error
    if not isinstance(entries, list):
        raise InputError(f"{path}: expected COCO results, a list of boxes")
    frames = {int(image): row for row, image in enumerate(annotations.image_ids)}
    labels = {category: label for label, category in enumerate(annotations.category_ids)}
    rows: list[list[float]] = []
    for number, entry in enumerate(entries):
        where = f"{path}, entry {number}"
        try:
            image, category = entry["image_id"], entry["category_id"]
            box, score = [float(x) for x in entry["bbox"]], float(entry["score"])
            x, y, width, height = box
        except (KeyError, TypeError, ValueError):
            expected = "expected image_id, category_id, bbox (x, y, width, height) and score"
            problems.add(Kind.BAD_ROW, where, f"{expected}, got {json.dumps(entry)[:200]}")
            continue
        if image not in frames:
            problems.add(Kind.NO_FRAME, where, f"the data set has no image {image!r}")
        elif category not in labels:
            problems.add(Kind.UNKNOWN_CLASS, where, f"the data set has no category {category!r}")
        else:
            rows.append([frames[image], labels[category], score, x, y, x + width, y + height])
    table = np.array(rows).reshape(-1, 7)
    return table[:, 0].astype(np.int64), table[:, 1], table[:, 2], table[:, 3:]


def _write_coco(path: Path, annotations: Annotations, columns: _Columns) -> None:
    frame, labels, scores, boxes = columns
    corners = boxes.astype(np.float64)
    sides = np.concatenate((corners[:, :2], corners[:, 2:] - corners[:, :2]), axis=1).tolist()
    images = annotations.image_ids[frame].tolist()
    categories = np.array(annotations.category_ids)[labels].tolist() if len(labels) else []
    names = ("image_id", "category_id", "bbox", "score")
    entries: Iterable[tuple[Any, ...]] = zip(images, categories, sides, scores.tolist(), strict=True)
    with atomic_path(path) as aside, aside.open("w") as file:
        file.write("[")
        for i, entry in enumerate(entries):
            file.write(("," if i else "") + "\n" + json.dumps(dict(zip(names, entry, strict=True))))
        file.write("\n]\n")


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise InputError(f"{path}: cannot be read: {reason}") from error
