"""Merge predictions files, or copy one with changed classes, in constant memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from megavid.core.errors import InputError
from megavid.core.files.atomic import atomic_path
from megavid.evaluation.formats.parquet_schema import SCHEMA, as_schema, read_metadata, translate_read_errors
from megavid.evaluation.formats.parquet_writer import RowWriter


def merge_predictions(parts: Sequence[Path], path: Path, *, metadata: Mapping[str, Any]) -> None:
    """Merge the predictions of different videos into one file.

    Args:
        parts: Files that `PredictionWriter` wrote, in the order of their rows in the result.
        path: The file to write; it appears whole or not at all.
        metadata: Metadata of the result, as JSON values; classes and numbers of frames are added.

    Raises:
        InputError: A part is broken, two parts have the same video or different classes, or the file cannot
            be written.
    """
    videos: dict[str, int] = {}
    info: dict[str, Any] = {}
    classes: list[str] = []
    with atomic_path(path) as aside:
        rows = RowWriter(aside)
        for part in parts:
            about = read_metadata(part)
            with translate_read_errors(part), pq.ParquetFile(part, pre_buffer=False) as file:
                twice = videos.keys() & about["videos"].keys()
                if twice:
                    raise InputError(f"{part}: has the video {min(twice)!r}, which another part has, too")
                if classes and about["classes"] and about["classes"] != classes:
                    raise InputError(f"{part}: its classes are not those of the other parts")
                classes = about["classes"] or classes
                videos |= about["videos"]
                info |= about.get("video_info", {})
                for batch in file.iter_batches():
                    rows.write(as_schema(batch))
        counts = {"classes": classes, "videos": videos, "frames": sum(videos.values())}
        rows.close({**metadata, **counts, "video_info": info})


def relabel_tracks(source: Path, target: Path, *, labels: Mapping[int, int]) -> None:
    """Copy a predictions file and give all boxes of a track one class.

    Args:
        source: The file to copy.
        target: The file to write; it appears whole or not at all.
        labels: The class of each track, by its id; rows of other tracks, and rows without a track, keep their
            class.

    Raises:
        InputError: `source` is broken, or `target` cannot be written.
    """
    about = read_metadata(source)
    names = pa.array(about["classes"], pa.string())
    tracks = pa.array(sorted(labels), pa.int64())
    voted = pa.array([labels[track] for track in sorted(labels)], pa.int32())
    with (
        atomic_path(target) as aside,
        translate_read_errors(source),
        pq.ParquetFile(source, pre_buffer=False) as file,
    ):
        rows = RowWriter(aside)
        for batch in file.iter_batches():
            place = pc.index_in(batch["track"], value_set=tracks)
            label = pc.coalesce(voted.take(place), batch["label"])
            class_name = pa.DictionaryArray.from_arrays(label, names)
            changed = {"label": label, "class_name": class_name}
            columns = [changed.get(name, batch[name]) for name in SCHEMA.names]
            rows.write(pa.RecordBatch.from_arrays(columns, schema=SCHEMA))
        rows.close({**about, "track_classes": "by vote, weighted by score"})
