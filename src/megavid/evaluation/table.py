"""Predictions in memory: a row a box.

Shapes: N boxes, V videos.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from megavid.core.files import atomic_path
from megavid.core.problems import Kind, Problems
from megavid.evaluation.predictions import METADATA_KEY, SCHEMA, read_metadata, reading

_COLUMNS = ("video", "frame", "label", "score", "x1", "y1", "x2", "y2")


@dataclass(frozen=True, eq=False)
class Predictions:
    """What was detected in one or more videos.

    Attributes:
        videos: (V,) names.
        video: int32 (N,), indexes into `videos`.
        frame: int32 (N,), the frame's number in its video.
        labels: int32 (N,), indexes into `class_names`.
        scores: float32 (N,), in [0, 1].
        boxes: float32 (N, 4), half-open x1 y1 x2 y2, pixels of the original frame.
        class_names: (C,).
        lengths: Frames done of each video, by name; None where the file does not say.
        origin: The file, for messages.
        metadata: What else the file says.
    """

    videos: tuple[str, ...]
    video: NDArray[np.int32]
    frame: NDArray[np.int32]
    labels: NDArray[np.int32]
    scores: NDArray[np.float32]
    boxes: NDArray[np.float32]
    class_names: tuple[str, ...]
    lengths: dict[str, int] | None
    origin: Path
    metadata: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.video)


def load_predictions(path: Path, *, problems: Problems) -> Predictions:
    """Read what `PredictionWriter` wrote.

    Args:
        path: The file.
        problems: Where rows go that have no number, a score outside [0, 1], no area, or stand there twice.

    Raises:
        InputError: The file is missing, broken or something else; or see `problems`.
    """
    about = read_metadata(path)
    with reading(path):
        # Column by column, so that no column is in memory twice for longer than it takes to join it.
        columns = {name: pq.read_table(path, columns=[name]).unify_dictionaries()[name] for name in _COLUMNS}
        video = columns.pop("video").combine_chunks()
        if isinstance(video, pa.ChunkedArray):  # no rows
            video = pa.array([], SCHEMA.field("video").type)
        boxes = np.empty((len(video), 4), np.float32)
        for i, name in enumerate(_COLUMNS[-4:]):
            boxes[:, i] = columns.pop(name).to_numpy()
        read = Predictions(
            videos=tuple(video.dictionary.to_pylist()),
            video=video.indices.to_numpy(),
            frame=columns["frame"].to_numpy().astype(np.int32),
            labels=columns["label"].to_numpy(),
            scores=columns["score"].to_numpy(),
            boxes=boxes,
            class_names=tuple(about["classes"]),
            lengths=about.get("videos"),
            origin=path,
            metadata=about,
        )
    return without_bad_rows(read, problems)


def save_predictions(predictions: Predictions, path: Path) -> None:
    """Write predictions that were read from elsewhere as `load_predictions` reads them.

    Raises:
        InputError: The file cannot be written.
    """
    names = pa.array(predictions.class_names, pa.string())
    n = len(predictions)
    columns = {
        "video": pa.DictionaryArray.from_arrays(predictions.video, pa.array(predictions.videos, pa.string())),
        "frame": predictions.frame,
        "file": pa.nulls(n, SCHEMA.field("file").type),
        "time": pa.nulls(n, pa.float64()),
        "label": predictions.labels,
        "class_name": pa.DictionaryArray.from_arrays(predictions.labels, names),
        "score": predictions.scores,
        **dict(zip(_COLUMNS[-4:], predictions.boxes.T, strict=True)),
    }
    arrays = [pa.array(values).cast(SCHEMA.field(name).type) for name, values in columns.items()]
    lengths = predictions.lengths or {}
    about = {"classes": predictions.class_names, "videos": lengths, "frames": sum(lengths.values())}
    metadata = {METADATA_KEY: json.dumps({**predictions.metadata, **about})}
    with atomic_path(path) as aside:
        pq.write_table(pa.Table.from_arrays(arrays, schema=SCHEMA.with_metadata(metadata)), aside)


def without_bad_rows(predictions: Predictions, problems: Problems) -> Predictions:
    """The rows that make sense.

    Raises:
        InputError: One does not, unless problems are skipped.
    """
    p = predictions
    bad = np.zeros(len(p), np.bool_)
    checks = [
        (np.isnan(p.scores) | np.isnan(p.boxes).any(axis=1), Kind.BAD_ROW, "expected numbers, got NaN"),
        ((p.scores < 0) | (p.scores > 1), Kind.BAD_ROW, "expected a score from 0 to 1"),
        (
            (p.labels < 0) | (p.labels >= len(p.class_names)),
            Kind.UNKNOWN_CLASS,
            f"expected a label from 0 to {len(p.class_names) - 1}",
        ),
        (
            (p.boxes[:, 2] < p.boxes[:, 0]) | (p.boxes[:, 3] < p.boxes[:, 1]),
            Kind.INVERTED,
            "expected x1 <= x2 and y1 <= y2",
        ),
        (
            _repeated(p),
            Kind.DUPLICATE_BOX,
            "the same box of the same frame, class and score stands there before",
        ),
    ]
    for wrong, kind, message in checks:
        for row in np.flatnonzero(wrong & ~bad).tolist():
            problems.add(kind, f"{p.origin}, row {row}", f"{message}: {_describe(p, row)}")
        bad |= wrong
    return _select(p, ~bad) if bad.any() else p


def _describe(p: Predictions, row: int) -> str:
    box = ", ".join(f"{x:g}" for x in p.boxes[row])
    return f"video {p.videos[p.video[row]]!r}, frame {p.frame[row]}, score {p.scores[row]:g}, box {box}"


def _select(p: Predictions, rows: NDArray[np.bool_]) -> Predictions:
    columns = {name: getattr(p, name)[rows] for name in ("video", "frame", "labels", "scores", "boxes")}
    return replace(p, **columns)


def _repeated(p: Predictions) -> NDArray[np.bool_]:
    """Rows that are the same as an earlier one."""
    columns = (p.video, p.frame, p.labels, p.scores.view(np.int32), *p.boxes.T)
    key = np.zeros(len(p), np.uint64)
    for column in columns:
        bits = column.view(np.uint32) if column.dtype.itemsize == 4 else column.astype(np.uint32)
        key *= np.uint64(0x9E3779B97F4A7C15)
        key ^= key >> np.uint64(29)
        key += bits
    order = np.argsort(key, kind="stable")
    same = np.flatnonzero(key[order[1:]] == key[order[:-1]])
    repeated = np.zeros(len(p), np.bool_)
    one, two = order[same], order[same + 1]
    equal = np.ones(len(same), np.bool_)
    for column in columns:
        equal &= column[one] == column[two]
    repeated[two[equal]] = True
    return repeated
