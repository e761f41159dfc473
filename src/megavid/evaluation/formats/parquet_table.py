"""Read and write a `PredictionTable` as megavid's own predictions file."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from megavid.core.errors import InputError
from megavid.core.files.atomic import atomic_path
from megavid.datasets.table.annotations import NO_TRACK
from megavid.datasets.table.index_file import LARGEST_NUMBER
from megavid.datasets.table.problems import Problems
from megavid.evaluation.formats.parquet_schema import (
    LATER_COLUMNS,
    METADATA_KEY,
    SCHEMA,
    read_metadata,
    translate_read_errors,
)
from megavid.evaluation.formats.parquet_writer import column_array
from megavid.evaluation.prediction_table import PredictionTable, without_bad_rows

_CORNERS = ("x1", "y1", "x2", "y2")
_COLUMNS = ["video", "frame", "label", "score", *_CORNERS]
_ROWS_AT_ONCE = 1 << 18

_ROWS_OF_ANY_FILE, _ROWS_OF_A_BYTE = 1_000_000, 100
"""Number of rows that a file of any size may have, and how many more for each of its bytes. Real files have
far fewer."""


def read_parquet(path: Path, *, problems: Problems, class_scores: bool = False) -> PredictionTable:
    """Read a predictions file in little more memory than the table takes.

    Args:
        path: A file that `PredictionWriter` or `write_parquet` wrote.
        problems: Collects invalid rows (see `without_bad_rows`).
        class_scores: Whether to read the score of each box for each class, too, which takes more memory than
            all else.

    Raises:
        InputError: The file is missing, broken or not a predictions file; or `problems` does not skip an
            invalid row.
    """
    about = read_metadata(path)
    with translate_read_errors(path), pq.ParquetFile(path, pre_buffer=False) as file:
        check_size(file, path)
        columns = columns_to_read(file, class_scores=class_scores)
        batches = file.iter_batches(_ROWS_AT_ONCE, columns=columns)
        table = table_of_batches(batches, file.metadata.num_rows, path=path, about=about)
    return without_bad_rows(table, problems)


def write_parquet(predictions: PredictionTable, path: Path) -> None:
    """Write a table as a predictions file, without times and image names.

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


def check_size(file: pq.ParquetFile, path: Path) -> None:
    """Check that a file does not claim to have many more rows than its size allows.

    Raises:
        InputError: The file has too many rows.
    """
    n = file.metadata.num_rows
    if n > _ROWS_OF_ANY_FILE + _ROWS_OF_A_BYTE * path.stat().st_size:
        raise InputError(f"{path}: expected predictions, got {n} rows in {path.stat().st_size} bytes")


def columns_to_read(file: pq.ParquetFile, *, class_scores: bool) -> list[str]:
    """Return the columns of a file that a `PredictionTable` has, with or without those of class scores."""
    later = [name for name in LATER_COLUMNS if class_scores or name != "class_scores"]
    return [*_COLUMNS, *(name for name in later if name in file.schema_arrow.names)]


def table_of_batches(
    batches: Iterable[pa.RecordBatch], n: int, *, path: Path, about: dict[str, Any], first: int = 0
) -> PredictionTable:
    """Copy batches of rows to a table, whose rows are not checked.

    Args:
        batches: Batches with the columns `columns_to_read`.
        n: Number of rows of all batches.
        path: The file, for messages.
        about: Metadata of the file.
        first: Number of the first row, for messages.

    Raises:
        InputError: There are not `n` rows, or a column has an impossible value.
    """
    numbers: dict[str, int] = {}
    video, labels = (np.empty(n, np.int32) for _ in range(2))
    frame = np.empty(n, np.int64)
    scores, boxes = np.empty(n, np.float32), np.empty((n, 4), np.float32)
    later = _LaterColumns(n, classes=len(about["classes"]), path=path)
    start = 0
    for batch in batches:
        _check_batch(batch, start, n, path, first=first)
        rows = slice(start, start + len(batch))
        video[rows] = _codes(batch["video"], numbers)
        for column, name in zip((frame, labels, scores, *boxes.T), _COLUMNS[1:], strict=True):
            column[rows] = batch[name]
        later.fill(rows, batch)
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
        **later.columns(),
    )


class _LaterColumns:
    """Collects the columns that a file may lack or that may be null; a column that is all null is none.

    Args:
        n: Number of rows.
        classes: Number of classes.
        path: The file, for messages.
    """

    def __init__(self, n: int, *, classes: int, path: Path) -> None:
        self._n, self._classes, self._path = n, classes, path
        self._found: dict[str, NDArray[Any]] = {}
        self._with_scores = 0

    def fill(self, rows: slice, batch: pa.RecordBatch) -> None:
        """Copy the columns of a batch to some rows."""
        for name, null in (("track", NO_TRACK), ("interpolated", False)):
            if name in batch.schema.names and batch[name].null_count < len(batch):
                if name not in self._found:
                    self._found[name] = np.full(self._n, null)
                self._found[name][rows] = batch[name].fill_null(null)
        if "class_scores" in batch.schema.names:
            self._fill_class_scores(rows, batch["class_scores"])

    def _fill_class_scores(self, rows: slice, lists: pa.ListArray) -> None:
        count = len(lists) - lists.null_count
        if count == 0:
            return
        values = lists.flatten()
        lengths = pc.list_value_length(lists).fill_null(self._classes).to_numpy()
        wrong = np.flatnonzero(lengths != self._classes)
        if len(wrong) or values.null_count:
            got = f"{lengths[wrong[0]]} in row {rows.start + wrong[0]}" if len(wrong) else "null"
            raise InputError(f"{self._path}: expected {self._classes} class scores for each box, got {got}")
        self._with_scores += count
        if "class_scores" not in self._found:
            self._found["class_scores"] = np.empty((self._n, self._classes), np.float32)
        if count == len(lists):
            self._found["class_scores"][rows] = values.to_numpy().reshape(-1, self._classes)

    def columns(self) -> dict[str, Any]:
        """Return the columns as arguments of `PredictionTable`.

        Raises:
            InputError: Only some of the boxes have class scores.
        """
        if 0 < self._with_scores < self._n:
            share = f"{self._with_scores} of {self._n}"
            raise InputError(f"{self._path}: expected class scores for all boxes or for none, got {share}")
        names = {"track": "tracks"}
        return {names.get(name, name): column for name, column in self._found.items()}


def _check_batch(batch: pa.RecordBatch, start: int, n: int, path: Path, *, first: int) -> None:
    """Check rows before they are copied, after `start` of `n` rows."""
    if start + len(batch) > n:
        raise InputError(f"{path}: expected {n} rows, got more")
    if any(batch[name].null_count for name in _COLUMNS) or batch["video"].dictionary.null_count:
        raise InputError(f"{path}: expected a value in each row of {', '.join(_COLUMNS)}")
    frame = batch["frame"].to_numpy()
    wrong = (frame < 0) | (frame > LARGEST_NUMBER)
    if wrong.any():
        row = int(wrong.argmax())
        expected = f"expected a frame from 0 to {LARGEST_NUMBER}"
        raise InputError(f"{path}, row {first + start + row}: {expected}, got {frame[row]}")


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
    }
    later = (predictions.tracks, predictions.class_scores, predictions.interpolated)
    for name, values in zip(LATER_COLUMNS, later, strict=True):
        some = [None] * len(video) if values is None else values[rows]
        columns[name] = column_array(some, SCHEMA.field(name))
    return pa.RecordBatch.from_pydict(columns)
