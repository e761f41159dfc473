"""Predictions in memory: a row a box.

Shapes: N boxes, V videos.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from megavid.core.errors import InputError
from megavid.core.files.atomic import atomic_path
from megavid.datasets.table.index_file import LARGEST_NUMBER
from megavid.datasets.table.problems import Kind, Problems
from megavid.evaluation.formats.parquet import METADATA_KEY, SCHEMA, read_metadata, reading

_CORNERS = ("x1", "y1", "x2", "y2")
_COLUMNS = ["video", "frame", "label", "score", *_CORNERS]
_ROWS_AT_ONCE = 1 << 18

_LEAST_CHECKED, _MOST_ROWS_A_BYTE = 1_000_000, 100
"""Rows that a file may have whatever its size, and beyond them rows a byte: far more than real ones have."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """What was detected in one or more videos.

    Attributes:
        videos: (V,) names, each once.
        video: int32 (N,), indexes into `videos`.
        frame: int64 (N,), the frame's number in its video.
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
    frame: NDArray[np.int64]
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
    """Read what `PredictionWriter` wrote, in little more memory than the rows take.

    Args:
        path: The file.
        problems: Where rows go that have no number, a score outside [0, 1], an inverted box, or stand there
            twice.

    Raises:
        InputError: The file is missing, broken or something else; or see `problems`.
    """
    about = read_metadata(path)
    with reading(path), pq.ParquetFile(path, pre_buffer=False) as file:
        n = file.metadata.num_rows
        if n > _LEAST_CHECKED + _MOST_ROWS_A_BYTE * path.stat().st_size:
            raise InputError(f"{path}: expected predictions, got {n} rows in {path.stat().st_size} bytes")
        numbers: dict[str, int] = {}
        video, labels = (np.empty(n, np.int32) for _ in range(2))
        frame = np.empty(n, np.int64)
        scores, boxes = np.empty(n, np.float32), np.empty((n, 4), np.float32)
        start = 0
        for batch in file.iter_batches(_ROWS_AT_ONCE, columns=_COLUMNS):
            _check_batch(batch, start, n, path)
            rows = slice(start, start + len(batch))
            video[rows] = _codes(batch["video"], numbers)
            for column, name in zip((frame, labels, scores, *boxes.T), _COLUMNS[1:], strict=True):
                column[rows] = batch[name]
            start = rows.stop
        if start < n:
            raise InputError(f"{path}: expected {n} rows, got {start}")
        read = Predictions(
            videos=tuple(numbers),
            video=video,
            frame=frame,
            labels=labels,
            scores=scores,
            boxes=boxes,
            class_names=tuple(about["classes"]),
            lengths=about.get("videos"),
            origin=path,
            metadata=about,
        )
    return without_bad_rows(read, problems)


def _check_batch(batch: pa.RecordBatch, start: int, n: int, path: Path) -> None:
    """Check rows before they are copied; `start` is the number of the first, of `n` in all."""
    if start + len(batch) > n:
        raise InputError(f"{path}: expected {n} rows, got more")
    if any(column.null_count for column in batch.columns) or batch["video"].dictionary.null_count:
        raise InputError(f"{path}: expected a value in each row of {', '.join(_COLUMNS)}")
    frame = batch["frame"].to_numpy()
    wrong = (frame < 0) | (frame > LARGEST_NUMBER)
    if wrong.any():
        row = int(wrong.argmax())
        expected = f"expected a frame from 0 to {LARGEST_NUMBER}"
        raise InputError(f"{path}, row {start + row}: {expected}, got {frame[row]}")


def _codes(names: pa.DictionaryArray, numbers: dict[str, int]) -> NDArray[np.int32]:
    """The number of each row's name; new names are added to `numbers`."""
    known = [numbers.setdefault(name, len(numbers)) for name in names.dictionary.to_pylist()]
    codes: NDArray[np.int32] = np.array(known, np.int32)[names.indices.to_numpy()]
    return codes


def save_predictions(predictions: Predictions, path: Path) -> None:
    """Write predictions that were read from elsewhere as `load_predictions` reads them, without tracks.

    Raises:
        InputError: The file cannot be written.
    """
    about: dict[str, Any] = {**predictions.metadata, "classes": predictions.class_names}
    if predictions.lengths is not None:
        about |= {"videos": predictions.lengths, "frames": sum(predictions.lengths.values())}
    schema = SCHEMA.with_metadata({METADATA_KEY: json.dumps(about)})
    with atomic_path(path) as aside, pq.ParquetWriter(aside, schema) as writer:
        for start in range(0, len(predictions), _ROWS_AT_ONCE):
            writer.write_batch(_batch(predictions, slice(start, start + _ROWS_AT_ONCE)).cast(schema))


def _batch(predictions: Predictions, rows: slice) -> pa.RecordBatch:
    video, labels = predictions.video[rows], predictions.labels[rows]
    names = [pa.array(names, pa.string()) for names in (predictions.videos, predictions.class_names)]
    columns = {
        "video": pa.DictionaryArray.from_arrays(video, names[0]),
        "frame": predictions.frame[rows],
        "file": pa.nulls(len(video), SCHEMA.field("file").type),
        "time": pa.nulls(len(video), pa.float64()),
        "label": labels,
        "class_name": pa.DictionaryArray.from_arrays(labels, names[1]),
        "score": predictions.scores[rows],
        **dict(zip(_CORNERS, predictions.boxes[rows].T, strict=True)),
        "track": pa.nulls(len(video), pa.int64()),
    }
    return pa.RecordBatch.from_pydict(columns)


def without_bad_rows(
    predictions: Predictions,
    problems: Problems,
    *,
    unit: str = "row",
    places: NDArray[np.int32] | None = None,
) -> Predictions:
    """The rows that make sense.

    Args:
        predictions: What was read.
        problems: Where the others go.
        unit: What the file has instead of rows, for messages.
        places: (N,) the number of each row's unit; by default the rows are numbered from 0.

    Raises:
        InputError: A row makes no sense, unless problems are skipped.
    """
    p = predictions
    bad = np.zeros(len(p), np.bool_)
    for check, kind, message in _CHECKS:
        wrong = check(p) & ~bad
        for row in np.flatnonzero(wrong).tolist():
            place = row if places is None else places[row]
            problems.add(kind, f"{p.origin}, {unit} {place}", f"{message}: {_describe(p, row)}")
        bad |= wrong
    if not bad.any():
        return p
    columns = {name: getattr(p, name)[~bad] for name in ("video", "frame", "labels", "scores", "boxes")}
    return replace(p, **columns)


def _describe(p: Predictions, row: int) -> str:
    box = ", ".join(f"{x:g}" for x in p.boxes[row])
    where = f"video {p.videos[p.video[row]]!r}, frame {p.frame[row]}"
    return f"{where}, label {p.labels[row]}, score {p.scores[row]:g}, box {box}"


def _no_numbers(p: Predictions) -> NDArray[np.bool_]:
    wrong = ~np.isfinite(p.scores)
    for corner in p.boxes.T:
        wrong |= ~np.isfinite(corner)
    return wrong


def _no_score(p: Predictions) -> NDArray[np.bool_]:
    return (p.scores < 0) | (p.scores > 1)


def _no_class(p: Predictions) -> NDArray[np.bool_]:
    return (p.labels < 0) | (p.labels >= len(p.class_names))


def _inverted(p: Predictions) -> NDArray[np.bool_]:
    return (p.boxes[:, 2] < p.boxes[:, 0]) | (p.boxes[:, 3] < p.boxes[:, 1])


def _repeated(p: Predictions) -> NDArray[np.bool_]:
    """Rows that are the same as an earlier one."""
    columns = [np.ascontiguousarray(p.scores).view(np.int32), *np.ascontiguousarray(p.boxes).view(np.int32).T]
    columns += [p.video, *np.ascontiguousarray(p.frame, np.int64).view(np.int32).reshape(-1, 2).T, p.labels]
    key = np.zeros(len(p), np.uint64)
    for column in columns:
        key *= np.uint64(0x9E3779B97F4A7C15)
        key ^= key >> np.uint64(29)
        key += column.view(np.uint32)
    ordered = np.sort(key)
    ordered = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    repeated = np.isin(key, ordered)
    # Few rows are left, and of those the few that only share a hash are told apart.
    rows = np.flatnonzero(repeated)
    same = np.stack([column[rows] for column in columns], axis=1)
    _, first = np.unique(same, axis=0, return_index=True)
    repeated[rows[first]] = False
    return repeated


_CHECKS: tuple[tuple[Callable[[Predictions], NDArray[np.bool_]], Kind, str], ...] = (
    (_no_numbers, Kind.BAD_ROW, "expected finite numbers"),
    (_no_score, Kind.BAD_ROW, "expected a score from 0 to 1"),
    (_no_class, Kind.UNKNOWN_CLASS, "expected a label of one of the classes"),
    (_inverted, Kind.INVERTED, "expected x1 <= x2 and y1 <= y2"),
    (_repeated, Kind.DUPLICATE_BOX, "the same box of the same frame, class and score stands there before"),
)
