"""Read the paths of videos, and what else is said of them, from text, CSV and Parquet files."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq

from megavid.core.errors import InputError
from megavid.core.text import listed

_PATH_COLUMNS = ("path", "video")
_ADDRESS = "video"
"""Name that the column of addresses has in a list of videos."""

LARGEST_MANIFEST = 1 << 30
"""Largest manifest, in bytes, which has ten million paths of a hundred characters."""

_MOST_ROWS = 10_000_000

_LONGEST_PATH = 4096
"""Longest path, in characters. The longest key of an object store has 1,024 bytes."""


@dataclass(frozen=True)
class ManifestRows:
    """The rows of a manifest.

    Attributes:
        paths: The paths, as written.
        further: The further columns.
        lines: Number of the line or row of each path, from 1.
        unit: What `lines` counts: "line" or "row".
    """

    paths: list[str]
    further: pa.Table
    lines: Sequence[int]
    unit: str

    def place(self, number: int) -> str:
        """Return where a path is written, such as "line 3"."""
        return f"{self.unit} {self.lines[number]}"


def read_manifest(origin: str, data: bytes, *, column: str | None = None) -> ManifestRows:
    """Read a text, CSV or Parquet file with the paths of videos.

    Args:
        origin: Name of the file, whose suffix tells its format.
        data: Its content.
        column: Name of the column of paths; by default "path" or "video".

    Raises:
        InputError: The file is broken, empty, or has no such column; the message names the line.
    """
    suffix = PurePosixPath(origin).suffix.lower()
    if column is not None and suffix == ".txt":
        raise InputError(f"{origin}: expected a CSV or Parquet file for column {column!r}")
    rows = MANIFEST_SUFFIXES[suffix](origin, data, column)
    if not rows.paths:
        raise InputError(f"{origin}: expected paths of videos, got none")
    for number, path in enumerate(rows.paths):
        if not path or "\0" in path or len(path) > _LONGEST_PATH:
            raise InputError(f"{origin}: {rows.place(number)}: expected the path of a video, got {path!r}")
    return rows


def _read_text(origin: str, data: bytes, column: str | None) -> ManifestRows:
    lines = [
        (number, line.removesuffix("\r"))
        for number, line in enumerate(_decode(origin, data).split("\n"), 1)
        if line.strip()
    ]
    paths = [line for _, line in lines]
    return ManifestRows(paths, pa.table({}), [number for number, _ in lines], "line")


def _read_csv(origin: str, data: bytes, column: str | None) -> ManifestRows:
    reader = csv.reader(io.StringIO(_decode(origin, data), newline=""), strict=True)
    rows: list[list[str]] = []
    lines: list[int] = []
    try:
        header = next(reader, [])
        where = _find_column(origin, header, column)
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                raise InputError(
                    f"{origin}: line {reader.line_num}: expected {len(header)} fields, got {len(row)}"
                )
            rows.append(row)
            lines.append(reader.line_num)
    except csv.Error as error:
        raise InputError(f"{origin}: line {reader.line_num}: {error}") from error
    columns = [pa.array([row[i] for row in rows], pa.string()) for i in range(len(header))]
    further = pa.table(columns, header).remove_column(where)
    return ManifestRows([row[where] for row in rows], further, lines, "line")


def _read_parquet(origin: str, data: bytes, column: str | None) -> ManifestRows:
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        _check_size(origin, file.metadata)
        table = file.read()
        table.validate(full=True)
    except InputError:
        raise
    except (OSError, ValueError, MemoryError, pa.ArrowException) as error:
        raise InputError(f"{origin}: expected a Parquet file: {error}") from error
    where = _find_column(origin, table.column_names, column)
    kind = table.schema.types[where]
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise InputError(f"{origin}: column {table.column_names[where]}: expected text, got {kind}")
    paths = [path or "" for path in table.column(where).to_pylist()]
    return ManifestRows(paths, table.remove_column(where), range(1, len(paths) + 1), "row")


def _check_size(origin: str, metadata: pq.FileMetaData) -> None:
    """Check the amount of data before reading it, since a small file may expand to any amount."""
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    chunks = [group.column(i) for group in groups for i in range(group.num_columns)]
    size = sum(chunk.total_uncompressed_size for chunk in chunks)
    if size > LARGEST_MANIFEST or metadata.num_rows > _MOST_ROWS:
        raise InputError(f"{origin}: expected at most {_MOST_ROWS} rows, got {metadata.num_rows}")


def _find_column(origin: str, names: Sequence[str], column: str | None) -> int:
    """Return the number of the column of paths."""
    if len(set(names)) < len(names):
        raise InputError(f"{origin}: expected columns of different names, got {listed(names)}")
    wanted = _PATH_COLUMNS if column is None else (column,)
    found = [name for name in names if name in wanted]
    if len(found) != 1:
        raise InputError(
            f"{origin}: expected one column {' or '.join(wanted)}, got {listed(names) or 'none'}"
        )
    if _ADDRESS in names and found != [_ADDRESS]:
        raise InputError(f"{origin}: column {_ADDRESS}: the addresses get this name; rename the column")
    return list(names).index(found[0])


def _decode(origin: str, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InputError(f"{origin}: line {line}: expected text in UTF-8: {error.reason}") from error


MANIFEST_SUFFIXES: dict[str, Callable[[str, bytes, str | None], ManifestRows]] = {
    ".txt": _read_text,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
}
"""Functions that read the formats, by suffix."""
