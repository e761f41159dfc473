"""Columns and metadata of megavid's own predictions file: a Parquet file with a row for each box.

| column | content |
|---|---|
| `video` | name of the video |
| `frame` | number of the frame in its video, from 0 |
| `file` | name of the frame's image; null in a video file |
| `time` | time of the frame in its video, seconds |
| `label`, `class_name`, `score` | number of the class, name of the class, and score in [0, 1] |
| `x1`, `y1`, `x2`, `y2` | the box, half-open, in pixels of the original frame |
| `track` | id of the track, -1 for none; null if the boxes were not tracked |
| `class_scores` | score for each class, in the order of the class names; null if the detector gives none |
| `interpolated` | whether the box fills a gap between two detections; null if no gaps were filled |

Files of earlier versions lack some of the last three columns.

The metadata of the file is JSON under the key "megavid". It always has the class names ("classes"). If known,
it also has the number of frames of each video ("videos") and of all videos ("frames"), and the size and the
numbers of the frames of each video ("video_info", see `video_info.py`), because the table has no rows for
frames without detections.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from megavid.core.errors import InputError
from megavid.core.files.regular_files import check_regular_file
from megavid.evaluation.formats.parquet_metadata import parse_metadata

NAME = pa.dictionary(pa.int32(), pa.string())
"""Type of a column of names; each different name is stored only once."""

SCHEMA = pa.schema(
    [
        ("video", NAME),
        ("frame", pa.int64()),
        ("file", NAME),
        ("time", pa.float64()),
        ("label", pa.int32()),
        ("class_name", NAME),
        ("score", pa.float32()),
        ("x1", pa.float32()),
        ("y1", pa.float32()),
        ("x2", pa.float32()),
        ("y2", pa.float32()),
        ("track", pa.int64()),
        ("class_scores", pa.list_(pa.float32())),
        ("interpolated", pa.bool_()),
    ]
)

LATER_COLUMNS = ("track", "class_scores", "interpolated")
"""Columns that files of earlier versions may lack; null stands for them."""

METADATA_KEY = "megavid"


def check_suffix(path: Path) -> None:
    """Check that the name of a predictions file to read ends in .parquet.

    Raises:
        InputError: It has another ending, as predictions in other formats have.
    """
    if path.suffix != ".parquet":
        raise InputError(
            f"{path}: expected a name that ends in .parquet; megavid score PREDICTIONS --data DATA --save-as "
            "FILE.parquet converts other formats"
        )


def read_metadata(path: Path) -> dict[str, Any]:
    """Read the metadata of a predictions file.

    Raises:
        InputError: The file is missing, broken or not a predictions file, or its metadata is invalid (see
            `parse_metadata`).
    """
    with translate_read_errors(path):
        file = pq.read_metadata(path)
        if not _has_columns(file.schema.to_arrow_schema()):
            raise InputError(f"{path}: expected predictions that megavid wrote; it has other columns")
        metadata: dict[bytes, bytes] = file.metadata or {}
        if METADATA_KEY.encode() not in metadata:
            raise KeyError(METADATA_KEY)
        return parse_metadata(metadata[METADATA_KEY.encode()], origin=path)


@contextmanager
def translate_read_errors(path: Path) -> Iterator[None]:
    """Turn any error in reading a predictions file into an `InputError` that names the file."""
    check_regular_file(path)
    try:
        yield
    except KeyError as error:
        raise InputError(f"{path}: expected predictions that megavid wrote; {error} is missing") from error
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as predictions: {error}") from error


def as_schema(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Cast rows of a predictions file to `SCHEMA`; add the columns that files of earlier versions lack."""
    for name in LATER_COLUMNS:
        if name not in batch.schema.names:
            batch = batch.append_column(name, pa.nulls(batch.num_rows, SCHEMA.field(name).type))
    return batch.select(SCHEMA.names).cast(SCHEMA)


def _has_columns(schema: pa.Schema) -> bool:
    """Return whether a file has the columns of `SCHEMA`, with or without those that earlier files lack."""
    expected = [field for field in SCHEMA if field.name in schema.names or field.name not in LATER_COLUMNS]
    return bool(schema.equals(pa.schema(expected)))
