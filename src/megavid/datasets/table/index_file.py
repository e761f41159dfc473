"""Read and write index files, which store a table of annotations as Parquet.

Each row is a frame with a list of its boxes. Videos, classes and the root folder are JSON in the file's
metadata, under the key "megavid". Shapes: V videos, F frames, M boxes, C classes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import Field, model_validator

from megavid.core.config import Config, validate
from megavid.core.errors import InputError
from megavid.core.files.atomic import atomic_path
from megavid.core.files.json_yaml import load_json
from megavid.core.files.regular_files import GIB, check_regular_file

INDEX_VERSION = 2
"""Version of the file format. Version 1 had neither areas nor crowds, and frame numbers had 32 bits."""

LARGEST_NUMBER = (1 << 62) - 1
"""Largest frame number; the sum of two fits into 64 bits. Nanoseconds since 1970 are a smaller number."""

MOST_FRAMES, MOST_BOXES = 20_000_000, 200_000_000
"""Largest numbers of frames and of boxes in an index. Each frame and each box takes some 50 bytes.

ImageNet VID has 1.1 million frames and 1.7 million boxes.
"""

_LARGEST_FILE = 16 * GIB
"""Largest size of an index before compression, in bytes."""

_LARGEST_NAMES = GIB
"""Largest size of all file names together, in bytes."""

_KEY = b"megavid"
_PER_FRAME = {
    "video": ("video", pa.int32()),
    "number": ("number", pa.int64()),
    "width": ("width", pa.int32()),
    "height": ("height", pa.int32()),
    "listed": ("listed", pa.bool_()),
    "image_ids": ("image_id", pa.int64()),
}
_PER_BOX = {
    "labels": ("label", pa.int32()),
    "tracks": ("track", pa.int64()),
    "occluded": ("occluded", pa.bool_()),
    "generated": ("generated", pa.bool_()),
    "difficult": ("difficult", pa.bool_()),
    "crowds": ("crowd", pa.bool_()),
    "areas": ("area", pa.float32()),
}
"""Name and type of the column for each array of boxes; `_PER_FRAME` has those for arrays of frames."""

_CORNERS = ("x1", "y1", "x2", "y2")
_BOX = pa.struct([*((name, pa.float32()) for name in _CORNERS), *_PER_BOX.values()])
_SCHEMA = pa.schema([*_PER_FRAME.values(), ("file", pa.string()), ("objects", pa.list_(_BOX))])

_Text = Annotated[str, Field(pattern="^[^\x00]*$")]
_Texts = Annotated[tuple[_Text, ...], Field(strict=False)]


class _About(Config):
    """The metadata of an index. Attributes that are not described here are those of `Annotations`.

    Attributes:
        annotations: Version of the file format.
    """

    annotations: int
    root: _Text
    classes: _Texts
    category_ids: tuple[int, ...] = Field(strict=False)
    videos: _Texts
    sources: _Texts

    @model_validator(mode="after")
    def _lengths_agree(self) -> Self:
        for name, values, others in (
            ("category_ids", self.category_ids, self.classes),
            ("sources", self.sources, self.videos),
        ):
            if len(values) != len(others):
                raise ValueError(f"{name}: expected {len(others)}, got {len(values)}")
        return self


def write_index(path: Path, table: Mapping[str, Any]) -> None:
    """Write an index file.

    Args:
        path: The file, which appears complete or not at all.
        table: The attributes of `Annotations`, by name.

    Raises:
        InputError: The file cannot be written, or the arrays of the table contradict each other.
    """
    _check_columns(table, origin=path)
    boxes = [*table["boxes"].T, *(table[name] for name in _PER_BOX)]
    structs = pa.StructArray.from_arrays(
        [pa.array(column, field.type) for column, field in zip(boxes, _BOX, strict=True)], fields=list(_BOX)
    )
    objects = pa.ListArray.from_arrays(pa.array(table["offsets"], pa.int32()), structs)
    columns = [*(pa.array(table[name]) for name in _PER_FRAME), table["files"], objects]
    about = {
        "annotations": INDEX_VERSION,
        "root": str(table["root"].absolute()),
        **{name: table[name] for name in ("classes", "category_ids", "videos", "sources")},
    }
    try:
        text = json.dumps(about, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{path}: cannot be written: names of files have to be in UTF-8: {error}") from error
    schema = _SCHEMA.with_metadata({_KEY: text})
    with atomic_path(path) as aside:
        pq.write_table(pa.Table.from_arrays(columns, schema=schema), aside, compression="zstd")


def read_index(path: Path) -> dict[str, Any]:
    """Read an index file.

    Returns:
        The attributes of `Annotations`, by name.

    Raises:
        InputError: The file is missing, broken, too large or not an index, or its arrays contradict each
            other.
    """
    check_regular_file(path)
    try:
        with pq.ParquetFile(path) as file:
            about = _read_about(file, path)
        with pq.ParquetFile(path, read_dictionary=["file"]) as file:
            columns = _read_columns(file, path)
    except InputError:
        raise
    except (OSError, ValueError, MemoryError, pa.ArrowException) as error:
        raise InputError(f"{path}: cannot be read as an index: {error}") from error
    objects = columns["objects"]
    boxes = dict(zip((field.name for field in _BOX), objects.flatten().flatten(), strict=True))
    for name, column in (columns | boxes).items():
        if name != "file" and column.null_count:
            raise InputError(f"{path}: column {name!r}: expected a value in every row")
    starts = _numbers(objects.offsets).astype(np.int64)
    table: dict[str, Any] = {
        **{name: _numbers(columns[column]) for name, (column, _) in _PER_FRAME.items()},
        **{name: _numbers(boxes[column]) for name, (column, _) in _PER_BOX.items()},
        "files": columns["file"],
        "boxes": np.stack([_numbers(boxes[name]) for name in _CORNERS], axis=1),
        "offsets": starts - starts[0],
        **about.model_dump(exclude={"annotations"}),
        "root": Path(about.root),
    }
    _check_columns(table, origin=path)
    return table


def _read_about(file: pq.ParquetFile, path: Path) -> _About:
    """Read the metadata, and check the version, the columns and the amount of data."""
    metadata = (file.schema_arrow.metadata or {}).get(_KEY)
    about = None if metadata is None else load_json(metadata, origin=f"{path}, metadata")
    if not isinstance(about, dict) or not isinstance(version := about.get("annotations"), int):
        raise InputError(f"{path}: expected an index that `megavid data index` wrote")
    if version != INDEX_VERSION:
        raise InputError(
            f"{path}: expected an index of version {INDEX_VERSION}, got {version}; "
            "make it again with `megavid data index`"
        )
    if not file.schema_arrow.equals(_SCHEMA):
        raise InputError(f"{path}: expected an index that `megavid data index` wrote; it has other columns")
    _check_size(file.metadata, path)
    return validate(_About, about, origin=f"{path}, metadata")


def _read_columns(file: pq.ParquetFile, path: Path) -> dict[str, pa.Array]:
    """Read all rows, and check the total size of the file names before expanding them."""
    rows = file.read()
    rows.validate(full=True)
    names = rows["file"]
    lengths = (pc.sum(pc.take(pc.binary_length(c.dictionary), c.indices)).as_py() or 0 for c in names.chunks)
    if (size := sum(lengths)) > _LARGEST_NAMES:
        raise InputError(f"{path}: expected at most {_LARGEST_NAMES} bytes of file names, got {size}")
    rows = rows.set_column(rows.column_names.index("file"), "file", names.cast(pa.string()))
    return {name: rows[name].combine_chunks() for name in rows.column_names}


def _check_size(metadata: pq.FileMetaData, path: Path) -> None:
    """Check the amount of data before reading it, since a small file may expand to any amount."""
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    chunks = [group.column(i) for group in groups for i in range(group.num_columns)]
    sizes = (
        ("frames", metadata.num_rows, MOST_FRAMES),
        ("boxes", sum(c.num_values for c in chunks if c.path_in_schema.endswith(".label")), MOST_BOXES),
        ("bytes", sum(chunk.total_uncompressed_size for chunk in chunks), _LARGEST_FILE),
    )
    for name, count, most in sizes:
        if not 0 <= count <= most:
            raise InputError(f"{path}: expected at most {most} {name}, got {count}")


def _check_columns(table: Mapping[str, Any], *, origin: object) -> None:
    """Check that the arrays of a table agree with each other."""
    V, C = len(table["videos"]), len(table["classes"])
    video, number, labels, areas = (table[name] for name in ("video", "number", "labels", "areas"))
    same_video = video[1:] == video[:-1]
    checks = (
        ("video", (video >= 0) & (video < V), f"expected numbers below {V}, that of the videos"),
        ("video", np.diff(video, prepend=0) >= 0, "expected all frames of a video to be together"),
        ("number", (number >= 0) & (number <= LARGEST_NUMBER), f"expected 0 to {LARGEST_NUMBER}"),
        ("number", ~same_video | (number[1:] > number[:-1]), "expected numbers that rise in each video"),
        ("width", table["width"] >= 0, "expected at least 0"),
        ("height", table["height"] >= 0, "expected at least 0"),
        ("label", (labels >= 0) & (labels < C), f"expected numbers below {C}, that of the classes"),
        ("area", ~np.isinf(areas) & ~(areas < 0), "expected at least 0, or NaN where it is unknown"),
        ("boxes", np.isfinite(table["boxes"]).all(axis=1), "expected finite numbers"),
    )
    for name, right, message in checks:
        if not right.all():
            raise InputError(f"{origin}: column {name!r}, row {int(right.argmin())}: {message}")
    if pc.any(pc.match_substring(table["files"], "\x00")).as_py():
        raise InputError(f"{origin}: column 'file': expected names of files, got one with a NUL in it")


def _numbers(column: pa.Array) -> NDArray[Any]:
    values: NDArray[Any] = column.to_numpy(zero_copy_only=False)
    return values
