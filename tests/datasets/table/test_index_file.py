"""Refusing index files that are broken, contradictory or too large."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from megavid.core.errors import InputError
from megavid.datasets.table import index_file
from megavid.datasets.table.annotations import Annotations, load_annotations
from tests.datasets.table.test_annotations import build
from tests.mutations import ends_well, mutated_bytes, mutated_json, mutators


@pytest.fixture
def path(tmp_path: Path) -> Path:
    build(tmp_path).save(tmp_path / "index.parquet")
    return tmp_path / "index.parquet"


def rewrite(path: Path, columns: Mapping[str, Any] | None = None, *, about: bytes | None = None) -> None:
    """Replace metadata or columns of an index; `columns` may also name fields of the column `objects`."""
    table = pq.read_table(path)
    schema = table.schema
    objects = table["objects"].combine_chunks()
    names = [field.name for field in schema.field("objects").type.value_type]
    parts = dict(zip(names, objects.flatten().flatten(), strict=True))
    for name, values in (columns or {}).items():
        if name in parts:
            parts[name] = pa.array(values, parts[name].type)
            structs = pa.StructArray.from_arrays(list(parts.values()), names=names)
            name, values = "objects", pa.ListArray.from_arrays(objects.offsets, structs)  # noqa: PLW2901
        place = schema.get_field_index(name)
        table = table.set_column(place, schema.field(name), pa.array(values, schema.field(name).type))
    if about is not None:
        table = table.replace_schema_metadata({b"megavid": about})
    pq.write_table(table, path)


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("video", [0, 0, 3], "column 'video', row 2: expected numbers below 3"),
        ("video", [0, 0, -1], "column 'video', row 2: expected numbers below 3"),
        ("video", [2, 0, 2], "column 'video', row 1: expected all frames of a video to be together"),
        ("video", [0, None, 2], "column 'video': expected a value in every row"),
        ("number", [1, 0, 5], "column 'number', row 0: expected numbers that rise in each video"),
        ("number", [1, 1, 5], "column 'number', row 0: expected numbers that rise in each video"),
        ("number", [0, 1, 1 << 62], "column 'number', row 2: expected 0 to 4611686018427387903"),
        ("number", [-1, 1, 5], "column 'number', row 0: expected 0 to"),
        ("width", [64, -1, 0], "column 'width', row 1: expected at least 0"),
        ("height", [64, -1, 0], "column 'height', row 1: expected at least 0"),
        ("listed", [True, None, True], "column 'listed': expected a value"),
        ("image_id", [None, 1, 2], "column 'image_id': expected a value"),
        ("file", ["a\0b", None, None], "column 'file': expected names of files"),
        ("objects", [[], None, []], "column 'objects': expected a value"),
        ("objects", [[], [None], []], "column 'x1': expected a value"),
        ("label", [0, 2, 0], "column 'label', row 1: expected numbers below 2"),
        ("label", [0, -1, 0], "column 'label', row 1: expected numbers below 2"),
        ("label", [0, None, 0], "column 'label': expected a value"),
        ("x1", [0, float("nan"), 0], "column 'boxes', row 1: expected finite numbers"),
        ("y2", [9, float("inf"), 9], "column 'boxes', row 1: expected finite numbers"),
        ("area", [1, -2, 3], "column 'area', row 1: expected at least 0"),
    ],
)
def test_invalid_columns_are_refused(path: Path, column: str, values: list[Any], message: str) -> None:
    rewrite(path, {column: values})
    with pytest.raises(InputError, match=f"index.parquet: {message}"):
        load_annotations(path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("classes", ["cat", 3], "classes.1: .*string"),
        ("classes", ["cat"], "category_ids: expected 1, got 2"),
        ("classes", ["cat", "cat"], "expected a different name for each class, got 'cat' twice"),
        ("category_ids", [3, 3], "expected a different id for each class, got 3 twice"),
        ("category_ids", [3, 0.5], "category_ids.1: .*integer"),
        ("root", None, "root: .*string"),
        ("root", "a\0b", "root: "),
        ("videos", ["a", "a empty"], "sources: expected 2, got 3"),
        ("videos", ["a", "a", "b"], "got 'a' twice"),
        ("sources", "abc", "sources: .*tuple"),
        ("annotations", True, "expected an index of version 2"),
        ("annotations", "2", "expected an index that"),
        ("more", 1, "more: unknown key"),
    ],
)
def test_invalid_metadata_is_refused(path: Path, key: str, value: Any, message: str) -> None:
    about = json.loads(pq.read_schema(path).metadata[b"megavid"])
    rewrite(path, about=json.dumps({**about, key: value}).encode())
    with pytest.raises(InputError, match=message):
        load_annotations(path)


@pytest.mark.parametrize(
    ("about", "message"),
    [
        (b"[" * 100_000, "index.parquet, metadata: expected JSON.*nested too deep"),
        (b"\xff", "index.parquet, metadata: expected JSON"),
        (b"[]", "expected an index that"),
        (b'{"annotations": 2, "root": "\\ud800"}', "index.parquet, metadata: expected JSON"),
        (b'{"annotations": 2}', "index.parquet, metadata: root: missing"),
    ],
)
def test_missing_metadata_is_refused(path: Path, about: bytes, message: str) -> None:
    rewrite(path, about=about)
    with pytest.raises(InputError, match=message):
        load_annotations(path)


@pytest.mark.parametrize(
    ("name", "limit", "message"),
    [
        ("MOST_FRAMES", 2, "at most 2 frames, got 3"),
        ("MOST_BOXES", 2, "at most 2 boxes, got "),
        ("_LARGEST_FILE", 100, "at most 100 bytes"),
        ("_LARGEST_NAMES", 16, "at most 16 bytes of file names, got 17"),
    ],
)
def test_files_over_a_size_limit_are_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch, name: str, limit: int, message: str
) -> None:
    monkeypatch.setattr(index_file, name, limit)
    with pytest.raises(InputError, match=f"index.parquet: expected {message}"):
        load_annotations(path)


def test_an_invalid_table_is_not_written(tmp_path: Path) -> None:
    table = build(tmp_path)
    wrong = Annotations(**{**vars(table), "labels": np.array([0, 5, 0], np.int32)})
    with pytest.raises(InputError, match="column 'label', row 1: expected numbers below 2"):
        wrong.save(tmp_path / "index.parquet")
    assert not (tmp_path / "index.parquet").exists()


def test_file_names_that_are_not_utf_8_are_not_written(tmp_path: Path) -> None:
    folder = tmp_path / "\udcff"
    with pytest.raises(InputError, match=r"index.parquet: cannot be written: names .* UTF-8"):
        build(folder).save(tmp_path / "index.parquet")


def test_mutated_files_are_read_or_refused(path: Path) -> None:
    content = path.read_bytes()
    about = json.loads(pq.read_schema(path).metadata[b"megavid"])
    whole = 0
    for random in mutators(150):
        path.write_bytes(mutated_bytes(content, random))
        whole += ends_well(lambda: load_annotations(path))
        path.write_bytes(content)
        rewrite(path, about=mutated_json(about, random))
        whole += ends_well(lambda: load_annotations(path))
    assert 0 < whole < 100
