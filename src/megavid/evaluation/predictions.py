"""Predictions as a Parquet file: one row a box.

Columns: `video` (name), `frame` (number, from 0), `file` (the image's name where the video is a folder of
images, else null), `time` (seconds), `label`, `class_name`, `score`, and `x1`, `y1`, `x2`, `y2` (half-open,
pixels of the original frame). What holds for all rows stands as JSON under the key "megavid" of the file's
metadata, the number of frames with it: frames without detections have no rows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from megavid.core.errors import InputError
from megavid.core.frames import FrameResult

_NAME = pa.dictionary(pa.int32(), pa.string())

SCHEMA = pa.schema(
    [
        ("video", _NAME),
        ("frame", pa.int64()),
        ("file", _NAME),
        ("time", pa.float64()),
        ("label", pa.int32()),
        ("class_name", _NAME),
        ("score", pa.float32()),
        ("x1", pa.float32()),
        ("y1", pa.float32()),
        ("x2", pa.float32()),
        ("y2", pa.float32()),
    ]
)

METADATA_KEY = "megavid"

_ROWS_AT_ONCE = 20_000
_BATCHES_AT_ONCE = 500


class PredictionWriter:
    """Writes predictions frame by frame; memory stays flat.

    Args:
        path: The file to write, in place.
        metadata: What holds for all rows, as JSON values; `close` adds to it.

    Raises:
        InputError: The file cannot be written. Also while writing.
    """

    def __init__(self, path: Path, *, metadata: Mapping[str, Any]) -> None:
        self._path = path
        self._metadata = dict(metadata)
        self._batches: list[pa.RecordBatch] = []
        self._rows = 0
        self.frames = 0
        self.detections = 0
        try:
            self._writer = pq.ParquetWriter(path, SCHEMA)
        except OSError as error:
            raise self._failed(error) from error

    def write(self, video: str, result: FrameResult, *, file: str | None = None) -> None:
        """Append a frame's detections.

        Args:
            video: Name of the video.
            result: The frame's; its detections carry the class names.
            file: Name of the frame's image, where it has one.
        """
        found = result.detections
        n = len(found)
        self.frames += 1
        self.detections += n
        if n == 0:
            return
        boxes = found.boxes.float().cpu().numpy()
        columns = [
            [video] * n,
            [result.index] * n,
            [file] * n,
            [result.time] * n,
            found.labels.cpu().numpy(),
            [found.class_names[label] for label in found.labels.tolist()],
            found.scores.float().cpu().numpy(),
            *(boxes[:, i] for i in range(4)),
        ]
        arrays = [_column(values, field) for values, field in zip(columns, SCHEMA, strict=True)]
        self._batches.append(pa.RecordBatch.from_arrays(arrays, schema=SCHEMA))
        self._rows += n
        if self._rows >= _ROWS_AT_ONCE or len(self._batches) >= _BATCHES_AT_ONCE:
            self._flush()

    def close(self, **metadata: Any) -> None:
        """Finish the file, with more metadata; the number of frames is added."""
        try:
            self._flush()
            everything = self._metadata | metadata | {"frames": self.frames}
            self._writer.add_key_value_metadata({METADATA_KEY: json.dumps(everything)})
            self._writer.close()
        except OSError as error:
            raise self._failed(error) from error

    def _flush(self) -> None:
        if self._batches:
            table = pa.Table.from_batches(self._batches, schema=SCHEMA).unify_dictionaries()
            try:
                self._writer.write_table(table)
            except OSError as error:
                raise self._failed(error) from error
        self._batches, self._rows = [], 0

    def _failed(self, error: OSError) -> InputError:
        return InputError(f"{self._path}: cannot be written: {error}")


def _column(values: Any, field: pa.Field) -> pa.Array:
    if field.type == _NAME:
        # File names may hold bytes that are no text.
        values = [v if v is None else v.encode(errors="replace").decode() for v in values]
        return pa.array(values, pa.string()).dictionary_encode().cast(_NAME)
    return pa.array(values, field.type)
