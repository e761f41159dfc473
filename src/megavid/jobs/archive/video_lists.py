"""The lists of videos in an archive's output folder: what its runs were asked to do.

Each run writes the list of its videos before it begins, `lists/<time>-<hash>.parquet`, with the columns
`address`, `bytes`, `version` and those that the user's list has besides. Of a video that several lists have,
the latest counts. So a status can tell what is left, and all readers know which results are of a video as it
is now, without reading what was done.
"""

from __future__ import annotations

import hashlib
import posixpath
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile

import pyarrow as pa
import pyarrow.parquet as pq

from megavid.core.errors import InputError
from megavid.core.files.storage import Storage
from megavid.jobs.archive.segments import ListedVideo

_FOLDER = "lists"

_COLUMNS = {"address": pa.string(), "bytes": pa.int64(), "version": pa.string()}


@dataclass(frozen=True, eq=False)
class VideoTable:
    """Videos with the further columns of the user's list.

    Attributes:
        videos: The videos, each address once.
        columns: A row for each video; it may have no columns.
    """

    videos: Sequence[ListedVideo]
    columns: pa.Table

    @cached_property
    def names(self) -> list[str]:
        """Name of each video: its path within the folder that all videos are in."""
        folders = [video.address.split("/")[:-1] for video in self.videos]
        first, last = min(folders, default=[]), max(folders, default=[])
        shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False)))
        return ["/".join(video.address.split("/")[shared:]) for video in self.videos]


def record_list(storage: Storage, table: VideoTable) -> None:
    """Write the list of a run's videos, unless the latest list is the same.

    Args:
        storage: The archive's output folder.
        table: The videos. Further columns that are called like those of the list itself are left out.

    Raises:
        InputError: The output cannot be read or written.
    """
    own = [
        pa.array([getattr(video, name) for video in table.videos], kind) for name, kind in _COLUMNS.items()
    ]
    further = [name for name in table.columns.column_names if name not in _COLUMNS]
    columns = dict(zip(_COLUMNS, own, strict=True)) | {name: table.columns[name] for name in further}
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    content = sink.getvalue().to_pybytes()
    digest = hashlib.sha256(content).hexdigest()[:16]
    if not any(name.endswith(f"-{digest}.parquet") for name in _names(storage)[-1:]):
        storage.write(f"{_FOLDER}/{time.time_ns():020}-{digest}.parquet", content)


def recorded_videos(storage: Storage) -> VideoTable:
    """Read all lists of an archive.

    Raises:
        InputError: A list cannot be read.
    """
    tables = [_read(storage, name) for name in _names(storage)]
    if not tables:
        return VideoTable([], pa.table({}))
    table = _concatenate(tables)
    latest = {address: row for row, address in enumerate(table["address"].to_pylist())}
    table = table.take(pa.array(latest.values(), pa.int64()))
    rows = zip(*(table[name].to_pylist() for name in _COLUMNS), strict=True)
    return VideoTable([ListedVideo(*row) for row in rows], table.drop_columns(list(_COLUMNS)))


def _names(storage: Storage) -> list[str]:
    """Return the names of the lists, the latest last."""
    names = (posixpath.join(_FOLDER, posixpath.basename(name)) for name in storage.names(_FOLDER))
    return sorted(name for name in names if name.endswith(".parquet"))


def _read(storage: Storage, name: str) -> pa.Table:
    origin = f"{storage.address}/{name}"
    try:
        table = pq.read_table(pa.BufferReader(storage.read(name)))
        for column, kind in _COLUMNS.items():
            if table.schema.field(column).type != kind or table[column].null_count:
                raise InputError(f"{origin}: expected a list of videos that megavid wrote")
    except (OSError, KeyError, pa.ArrowException) as error:
        raise InputError(f"{origin}: cannot be read as a list of videos: {error}") from error
    return table


def _concatenate(tables: Sequence[pa.Table]) -> pa.Table:
    """Concatenate lists; if a column has different types in them, all further columns become text."""
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except (pa.ArrowTypeError, pa.ArrowInvalid):
        return pa.concat_tables(map(_as_text, tables), promote_options="permissive")


def _as_text(table: pa.Table) -> pa.Table:
    """Cast the further columns of a list to text."""
    return table.cast(pa.schema([(name, _COLUMNS.get(name, pa.string())) for name in table.column_names]))
