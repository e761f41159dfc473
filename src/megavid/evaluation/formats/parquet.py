"""Predictions on disk: a Parquet file with a row a box.

Columns: `video` (name), `frame` (number in the video, from 0), `file` (the image's name where the video is a
folder of images, else null), `time` (seconds), `label`, `class_name`, `score`, `x1`, `y1`, `x2`, `y2`
(half-open, pixels of the original frame), and `track` (-1 for none; null where nobody tracked). What holds
for all rows stands as JSON under the key "megavid" of the file's metadata, and with it the class names
("classes"), the number of frames of each video ("videos") and of all ("frames"): frames without detections
have no rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from megavid.core.errors import InputError
from megavid.core.files.atomic import atomic_path
from megavid.core.files.parsing import check_regular_file
from megavid.evaluation.formats.prediction_metadata import parse_metadata

if TYPE_CHECKING:
    from megavid.core.detections import FrameResult  # imports torch

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
        ("track", pa.int64()),
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
        self._rows = _RowWriter(path)
        self._metadata = dict(metadata)
        self._videos: dict[str, int] = {}
        self._classes: tuple[str, ...] = ()
        self.frames = 0
        self.detections = 0

    def write(self, video: str, result: FrameResult, *, file: str | None = None) -> None:
        """Append a frame's detections.

        Args:
            video: Name of the video.
            result: The frame's; its detections carry the class names.
            file: Name of the frame's image, where it has one.
        """
        video = _text(video)
        found = result.detections
        n = len(found)
        self.frames += 1
        self.detections += n
        self._videos[video] = self._videos.get(video, 0) + 1
        self._classes = found.class_names or self._classes
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
            [None] * n if found.tracks is None else found.tracks.cpu().numpy(),
        ]
        arrays = [_column(values, field) for values, field in zip(columns, SCHEMA, strict=True)]
        self._rows.write(pa.RecordBatch.from_arrays(arrays, schema=SCHEMA))

    def close(self, **metadata: Any) -> None:
        """Finish the file, with more metadata; classes and numbers of frames are added."""
        about = {"classes": self._classes, "videos": self._videos, "frames": self.frames}
        self._rows.close(self._metadata | metadata | about)


def read_metadata(path: Path) -> dict[str, Any]:
    """What holds for all rows of a predictions file.

    Raises:
        InputError: The file is missing, broken or something else; see `parse_metadata`.
    """
    with reading(path):
        file = pq.read_metadata(path)
        if not _of_schema(file.schema.to_arrow_schema()):
            raise InputError(f"{path}: expected predictions that megavid wrote; its columns are others")
        metadata: dict[bytes, bytes] = file.metadata or {}
        if METADATA_KEY.encode() not in metadata:
            raise KeyError(METADATA_KEY)
        return parse_metadata(metadata[METADATA_KEY.encode()], origin=path)


def merge_predictions(parts: Sequence[Path], path: Path, *, metadata: Mapping[str, Any]) -> None:
    """Join predictions of different videos to one file; memory stays flat.

    Args:
        parts: Files that `PredictionWriter` wrote, in the order to join them in.
        path: The file to write; it appears whole or not at all.
        metadata: What holds for all rows, as JSON values; classes and numbers of frames are added.

    Raises:
        InputError: A part is broken, two have the same video or different classes, or the file cannot be
            written.
    """
    videos: dict[str, int] = {}
    classes: list[str] = []
    with atomic_path(path) as aside:
        rows = _RowWriter(aside)
        for part in parts:
            about = read_metadata(part)
            with reading(part), pq.ParquetFile(part, pre_buffer=False) as file:
                twice = videos.keys() & about["videos"].keys()
                if twice:
                    raise InputError(f"{part}: has the video {min(twice)!r}, which another part has, too")
                if classes and about["classes"] and about["classes"] != classes:
                    raise InputError(f"{part}: its classes are not those of the other parts")
                classes = about["classes"] or classes
                videos |= about["videos"]
                for batch in file.iter_batches():
                    rows.write(_as_schema(batch))
        about = {"classes": classes, "videos": videos, "frames": sum(videos.values())}
        rows.close({**metadata, **about})


def rescore_predictions(
    source: Path,
    target: Path,
    *,
    scores: NDArray[np.float32],
    kept: NDArray[np.bool_],
    metadata: Mapping[str, Any],
) -> None:
    """Copy predictions with other scores, and some rows left out; memory stays flat.

    Args:
        source: What to copy, N rows.
        target: The file to write; it appears whole or not at all.
        scores: (N,), the new ones.
        kept: (N,), the rows to copy.
        metadata: What else holds for all rows, as JSON values.

    Raises:
        InputError: `source` is broken, or `target` cannot be written.
    """
    about = read_metadata(source)
    with atomic_path(target) as aside, reading(source), pq.ParquetFile(source, pre_buffer=False) as file:
        rows, start = _RowWriter(aside), 0
        place = SCHEMA.get_field_index("score")
        for batch in file.iter_batches():
            part = slice(start, start + len(batch))
            changed = _as_schema(batch).set_column(place, SCHEMA.field(place), pa.array(scores[part]))
            rows.write(changed.filter(pa.array(kept[part])))
            start = part.stop
        rows.close({**about, **metadata})


def relabel_tracks(source: Path, target: Path, *, labels: Mapping[int, int]) -> None:
    """Copy predictions with one class for each track; memory stays flat.

    Args:
        source: What to copy.
        target: The file to write; it appears whole or not at all.
        labels: The class of each track; rows of other tracks, and of none, keep theirs.

    Raises:
        InputError: `source` is broken, or `target` cannot be written.
    """
    about = read_metadata(source)
    names = pa.array(about["classes"], pa.string())
    tracks = pa.array(sorted(labels), pa.int64())
    voted = pa.array([labels[track] for track in sorted(labels)], pa.int32())
    with atomic_path(target) as aside, reading(source), pq.ParquetFile(source, pre_buffer=False) as file:
        rows = _RowWriter(aside)
        for batch in file.iter_batches():
            place = pc.index_in(batch["track"], value_set=tracks)
            label = pc.coalesce(voted.take(place), batch["label"])
            class_name = pa.DictionaryArray.from_arrays(label, names)
            changed = {"label": label, "class_name": class_name}
            columns = [changed.get(name, batch[name]) for name in SCHEMA.names]
            rows.write(pa.RecordBatch.from_arrays(columns, schema=SCHEMA))
        rows.close({**about, "track_classes": "by vote, weighted by score"})


def _of_schema(schema: pa.Schema) -> bool:
    """Whether it is `SCHEMA`, but for the tracks that files had not at first."""
    untracked = SCHEMA.remove(SCHEMA.get_field_index("track"))
    return bool(schema.equals(SCHEMA) or schema.equals(untracked))


def _as_schema(batch: pa.RecordBatch) -> pa.RecordBatch:
    if "track" not in batch.schema.names:
        batch = batch.append_column("track", pa.nulls(batch.num_rows, pa.int64()))
    return batch.cast(SCHEMA)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """While a predictions file is read: what goes wrong names it."""
    check_regular_file(path)
    try:
        yield
    except KeyError as error:
        raise InputError(f"{path}: expected predictions that megavid wrote; {error} is missing") from error
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as predictions: {error}") from error


class _RowWriter:
    """Writes batches of rows, collected to row groups of a good size."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._batches: list[pa.RecordBatch] = []
        self._waiting = 0
        with self._writing():
            self._writer = pq.ParquetWriter(path, SCHEMA)

    def write(self, batch: pa.RecordBatch) -> None:
        self._batches.append(batch)
        self._waiting += batch.num_rows
        if self._waiting >= _ROWS_AT_ONCE or len(self._batches) >= _BATCHES_AT_ONCE:
            self._flush()

    def close(self, metadata: Mapping[str, Any]) -> None:
        self._flush()
        with self._writing():
            self._writer.add_key_value_metadata({METADATA_KEY: json.dumps(metadata)})
            self._writer.close()

    def _flush(self) -> None:
        if self._batches:
            table = pa.Table.from_batches(self._batches, schema=SCHEMA).unify_dictionaries()
            with self._writing():
                self._writer.write_table(table)
        self._batches, self._waiting = [], 0

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InputError(f"{self._path}: cannot be written: {error}") from error


def _text(name: str) -> str:
    """The name without what is no text: file names may hold any bytes."""
    return name.encode(errors="replace").decode()


def _column(values: Any, field: pa.Field) -> pa.Array:
    if field.type == _NAME:
        values = [v if v is None else _text(v) for v in values]
        return pa.array(values, pa.string()).dictionary_encode().cast(_NAME)
    return pa.array(values, field.type)
