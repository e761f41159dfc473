"""Write predictions frame by frame as a Parquet file."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from megavid.core.errors import InputError
from megavid.datasets.formats.frame_runs import FrameRuns
from megavid.evaluation.formats.parquet_schema import METADATA_KEY, NAME, SCHEMA

if TYPE_CHECKING:
    from megavid.core.detections import FrameResult  # imports torch

_ROWS_IN_GROUP = 20_000
_BATCHES_IN_GROUP = 500


class PredictionWriter:
    """Writes predictions frame by frame, in constant memory.

    Args:
        path: The file to write; it is complete only after `close`.
        metadata: Metadata of the file, as JSON values; `close` adds to it.

    Attributes:
        frames: Number of frames written.
        detections: Number of boxes written.

    Raises:
        InputError: The file cannot be written; the methods raise this error, too.
    """

    def __init__(self, path: Path, *, metadata: Mapping[str, Any]) -> None:
        self._rows = RowWriter(path)
        self._metadata = dict(metadata)
        self._videos: dict[str, int] = {}
        self._sizes: dict[str, tuple[int, int]] = {}
        self._numbers: dict[str, FrameRuns] = {}
        self._classes: tuple[str, ...] = ()
        self.frames = 0
        self.detections = 0

    def set_size(self, video: str, *, width: int, height: int) -> None:
        """Record the size of a video's frames, in pixels."""
        self._sizes[_as_text(video)] = (width, height)

    def write(self, video: str, result: FrameResult, *, file: str | None = None) -> None:
        """Append the detections of a frame.

        Args:
            video: Name of the video.
            result: The frame's detections, which carry the class names.
            file: Name of the frame's image, if it has one.
        """
        video = _as_text(video)
        found = result.detections
        self.frames += 1
        self.detections += len(found)
        self._videos[video] = self._videos.get(video, 0) + 1
        self._numbers.setdefault(video, FrameRuns()).add(result.index)
        self._classes = found.class_names or self._classes
        if len(found):
            self._rows.write(frame_rows(video, result, file=file))

    def close(self, **metadata: Any) -> None:
        """Finish the file; add `metadata`, the classes and what is known of frames to the file's metadata."""
        counts = {"classes": self._classes, "videos": self._videos, "frames": self.frames}
        before = self._metadata.get("video_info", {})
        info = {name: {**before.get(name, {}), **self._info(name)} for name in self._videos}
        self._rows.close(self._metadata | metadata | counts | {"video_info": info})

    def _info(self, video: str) -> dict[str, Any]:
        size = dict(zip(("width", "height"), self._sizes.get(video, ()), strict=False))
        return {**size, "frame_numbers": self._numbers[video].runs}


def frame_rows(video: str, result: FrameResult, *, file: str | None) -> pa.RecordBatch:
    """Return the rows of a frame's detections.

    Args:
        video: Name of the video.
        result: The frame's detections, which carry the class names; its time may be NaN if it is unknown.
        file: Name of the frame's image, if it has one.
    """
    found = result.detections.cpu()
    n = len(found)
    boxes = found.boxes.float().numpy()
    columns = [
        [video] * n,
        [result.index] * n,
        [file] * n,
        [None if math.isnan(result.time) else result.time] * n,
        found.labels.numpy(),
        [found.class_names[label] for label in found.labels.tolist()],
        found.scores.float().numpy(),
        *(boxes[:, i] for i in range(4)),
        *(
            [None] * n if column is None else column.numpy()
            for column in (found.tracks, found.class_scores, found.interpolated)
        ),
    ]
    arrays = [column_array(values, field) for values, field in zip(columns, SCHEMA, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def column_array(values: Any, field: pa.Field) -> pa.Array:
    """Return the values of a column of `SCHEMA` as Arrow's type; those of class scores are (N, C)."""
    if field.type == NAME:
        values = [v if v is None else _as_text(v) for v in values]
        return pa.array(values, pa.string()).dictionary_encode().cast(NAME)
    if isinstance(values, np.ndarray) and values.ndim > 1:
        ends = np.arange(len(values) + 1, dtype=np.int32) * values.shape[1]
        return pa.ListArray.from_arrays(ends, values.ravel()).cast(field.type)
    return pa.array(values, field.type)


class RowWriter:
    """Writes batches of rows of `SCHEMA`, collected into larger row groups.

    Args:
        path: The file to write; it is complete only after `close`.

    Raises:
        InputError: The file cannot be written; the methods raise this error, too.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._batches: list[pa.RecordBatch] = []
        self._waiting = 0
        with self._translate_write_errors():
            self._writer = pq.ParquetWriter(path, SCHEMA)

    def write(self, batch: pa.RecordBatch) -> None:
        """Append rows."""
        self._batches.append(batch)
        self._waiting += batch.num_rows
        if self._waiting >= _ROWS_IN_GROUP or len(self._batches) >= _BATCHES_IN_GROUP:
            self._flush()

    def close(self, metadata: Mapping[str, Any]) -> None:
        """Finish the file with its metadata, as JSON values."""
        self._flush()
        with self._translate_write_errors():
            self._writer.add_key_value_metadata({METADATA_KEY: json.dumps(metadata)})
            self._writer.close()

    def _flush(self) -> None:
        if self._batches:
            table = pa.Table.from_batches(self._batches, schema=SCHEMA).unify_dictionaries()
            with self._translate_write_errors():
                self._writer.write_table(table)
        self._batches, self._waiting = [], 0

    @contextmanager
    def _translate_write_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InputError(f"{self._path}: cannot be written: {error}") from error


def _as_text(name: str) -> str:
    """Replace those characters of a file name that cannot be encoded as UTF-8."""
    return name.encode(errors="replace").decode()
