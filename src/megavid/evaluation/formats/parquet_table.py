"""Read and write a `PredictionTable` as megavid's own predictions file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from megavid.core.errors import InputError
from megavid.core.files.atomic import atomic_path
from megavid.datasets.table.index_file import LARGEST_NUMBER
from megavid.datasets.table.problems import Problems
from megavid.evaluation.formats.parquet_schema import (
    METADATA_KEY,
    SCHEMA,
    read_metadata,
    translate_read_errors,
)
from megavid.evaluation.prediction_table import PredictionTable, without_bad_rows

_CORNERS = ("x1", "y1", "x2", "y2")
_COLUMNS = ["video", "frame", "label", "score", *_CORNERS]
_ROWS_AT_ONCE = 1 << 18

_ROWS_OF_ANY_FILE, _ROWS_OF_A_BYTE = 1_000_000, 100
"""Number of rows that a file of any size may have, and how many more for each of its bytes. Real files have
far fewer."""


def read_parquet(path: Path, *, problems: Problems) -> PredictionTable:
    """Read a predictions file in little more memory than the table takes.

    Args:
        path: A file that `PredictionWriter` or `write_parquet` wrote.
        problems: Collects invalid rows (see `without_bad_rows`).

    Raises:
        InputError: The file is missing, broken or not a predictions file; or `problems` does not skip an
            invalid row.
    """
    about = read_metadata(path)
    with translate_read_errors(path), pq.ParquetFile(path, pre_buffer=False) as file:
        table = _read_rows(file, path, about)
    return without_bad_rows(table, problems)


def write_parquet(predictions: PredictionTable, path: Path) -> None:
    """Write a table as a predictions file, without tracks, times and image names.

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


def _read_rows(file: pq.ParquetFile, path: Path, about: dict[str, Any]) -> PredictionTable:
    n = file.metadata.num_rows
    if n > _ROWS_OF_ANY_FILE + _ROWS_OF_A_BYTE * path.stat().st_size:
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
    return PredictionTable(
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


def _check_batch(batch: pa.RecordBatch, start: int, n: int, path: Path) -> None:
    """Check rows before they are copied: the first has number `start`, and the file has `n` rows."""
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
    """Return the number of each row's name in `numbers`; add names that are new."""
    known = [numbers.setdefault(name, len(numbers)) for name in names.dictionary.to_pylist()]
    codes: NDArray[np.int32] = np.array(known, np.int32)[names.indices.to_numpy()]
    return codes


def _batch(predictions: PredictionTable, rows: slice) -> pa.RecordBatch:
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
