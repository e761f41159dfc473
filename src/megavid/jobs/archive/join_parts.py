"""Join the parts of videos, which workers of an archive wrote, to one predictions file."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from megavid.core.errors import InputError
from megavid.core.files.atomic import atomic_path
from megavid.core.text import listed
from megavid.datasets.formats.frame_runs import join_runs
from megavid.datasets.formats.limits import MOST_FRAMES
from megavid.evaluation.formats.parquet_metadata import parse_metadata
from megavid.evaluation.formats.parquet_schema import METADATA_KEY, SCHEMA, as_schema
from megavid.evaluation.formats.parquet_writer import RowWriter

_READERS = 16
"""Number of parts that are read ahead, since a bucket takes a while to answer."""


@dataclass(frozen=True, kw_only=True)
class RowChoice:
    """Boxes to keep.

    Attributes:
        score_threshold: Keep boxes with a score above this; None for all scores.
        classes: Names of the classes to keep; empty for all classes.
    """

    score_threshold: float | None = None
    classes: Sequence[str] = ()

    def rows(self, table: pa.Table, *, class_names: Sequence[str]) -> pa.Table:
        """Return the rows to keep.

        Raises:
            InputError: A name is not one of the detector's classes.
        """
        for name in self.classes:
            if class_names and name not in class_names:
                names = listed(class_names)
                raise InputError(f"classes: {name!r} is not one of the detector's: {names}")
        if self.score_threshold is not None:
            table = table.filter(pc.greater(table["score"], self.score_threshold))
        if self.classes:
            names = table["class_name"].cast(pa.string())
            table = table.filter(pc.is_in(names, pa.array(self.classes, pa.string())))
        return table


@dataclass(frozen=True)
class JoinedCounts:
    """What was written.

    Attributes:
        videos: Number of videos.
        frames: Number of frames that the detector ran on.
        boxes: Number of boxes.
    """

    videos: int
    frames: int
    boxes: int


def join_parts(
    videos: Iterable[tuple[str, Sequence[str]]],
    read: Callable[[str], bytes],
    path: Path,
    *,
    choice: RowChoice,
) -> JoinedCounts:
    """Write the parts of videos as one predictions file, with the rows of a few parts in memory at a time.

    Args:
        videos: Name of each video in the result, and the addresses of its parts in the order of its frames.
        read: Returns the content of a part; it is called on several threads.
        path: The file to write (.parquet); it appears whole or not at all.
        choice: Boxes to keep.

    Raises:
        InputError: A part is missing or broken, a class is unknown, there are too many frames, or the file
            cannot be written.
    """
    about, boxes = _Metadata(), 0
    with atomic_path(path) as aside:
        writer = RowWriter(aside)
        for name, part, content in _read_ahead(videos, read):
            metadata, table = _open(content, origin=part)
            about.add(name, metadata, origin=part)
            rows = choice.rows(table, class_names=metadata["classes"])
            boxes += len(rows)
            for batch in _renamed(rows, name).to_batches():
                writer.write(batch)
        writer.close(about.as_json())
    return JoinedCounts(len(about.videos), about.frames, boxes)


def _read_ahead(
    videos: Iterable[tuple[str, Sequence[str]]], read: Callable[[str], bytes]
) -> Iterator[tuple[str, str, bytes]]:
    """Yield the video, the address and the content of each part, and read the next parts meanwhile."""
    waiting: deque[tuple[str, str, Future[bytes]]] = deque()
    with ThreadPoolExecutor(_READERS) as pool:
        try:
            for name, part in ((name, part) for name, parts in videos for part in parts):
                waiting.append((name, part, pool.submit(read, part)))
                if len(waiting) > _READERS:
                    first_name, first, content = waiting.popleft()
                    yield first_name, first, content.result()
            for first_name, first, content in waiting:
                yield first_name, first, content.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _open(content: bytes, *, origin: str) -> tuple[dict[str, Any], pa.Table]:
    """Return the metadata and the rows of a part."""
    try:
        with pq.ParquetFile(pa.BufferReader(content)) as file:
            metadata = (file.metadata.metadata or {})[METADATA_KEY.encode()]
            batches = [as_schema(batch) for batch in file.iter_batches()]
    except (OSError, KeyError, pa.ArrowException) as error:
        raise InputError(f"{origin}: cannot be read as predictions: {error}") from error
    return parse_metadata(metadata, origin=origin), pa.Table.from_batches(batches, SCHEMA)


def _renamed(rows: pa.Table, name: str) -> pa.Table:
    """Return rows with another name of the video."""
    names = pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), len(rows)), pa.array([name]))
    return rows.set_column(0, SCHEMA.field("video"), names)


@dataclass(eq=False)
class _Metadata:
    """Metadata of the joined file, collected from its parts."""

    frames: int = 0
    common: dict[str, Any] = field(default_factory=dict)
    classes: list[str] = field(default_factory=list)
    videos: dict[str, int] = field(default_factory=dict)
    info: dict[str, dict[str, Any]] = field(default_factory=dict)
    left_out: int = 0

    def add(self, name: str, part: dict[str, Any], *, origin: str) -> None:
        """Add the metadata of a part; the parts of a video come in the order of its frames."""
        self.common = self.common or part
        self.classes = self.classes or part["classes"]
        self.left_out += part.get("left_out", 0)
        self.frames += part.get("frames", 0)
        self.videos[name] = self.videos.get(name, 0) + part.get("frames", 0)
        if self.frames > MOST_FRAMES:
            raise InputError(
                f"{origin}: expected at most {MOST_FRAMES} frames in a file; choose fewer videos"
            )
        before = self.info.get(name, {})
        for entry in part.get("video_info", {}).values():
            runs = join_runs(before.get("frame_numbers", []), entry.get("frame_numbers", []))
            self.info[name] = {**entry, "frame_numbers": runs}

    def as_json(self) -> dict[str, Any]:
        counts = {"classes": self.classes, "videos": self.videos, "frames": self.frames}
        return {**self.common, **counts, "video_info": self.info, "left_out": self.left_out}
