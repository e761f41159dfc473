"""Building, saving, loading and selecting from tables of annotated videos."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from megavid.core.errors import InputError
from megavid.datasets.table.annotations import (
    NO_TRACK,
    AnnotationBuilder,
    Annotations,
    load_annotations,
)
from megavid.datasets.table.concatenate import concatenate
from megavid.datasets.table.problems import Kind, Problems


def build(root: Path, name: str = "a") -> Annotations:
    """Make three videos: two images, no frames, and a video file whose frame 5 is annotated."""
    builder = AnnotationBuilder(("cat", "dog"), root=root, category_ids=(3, 7))
    builder.video(name)
    builder.frame(0, file=f"{name}/ä 0.jpg", width=64, height=48)
    builder.box(1, 2, 3.5, 4, label=1, track=9, occluded=True)
    builder.box(0, 0, 5, 5, label=0, difficult=True)
    builder.frame(1, file=f"{name}/1.jpg", width=64, height=48, listed=False, image_id=77)
    builder.video(f"{name} empty")
    builder.video(f"{name} file", source="clip.mp4")
    builder.frame(5)
    builder.box(9, 9, 10, 10, label=0, generated=True, crowd=True, area=0.5)
    return builder.build()


def assert_same(one: Annotations, two: Annotations) -> None:
    for field in fields(Annotations):
        a: Any = getattr(one, field.name)
        b: Any = getattr(two, field.name)
        if isinstance(a, np.ndarray):
            assert a.dtype == b.dtype, field.name
            np.testing.assert_array_equal(a, b, err_msg=field.name)
        else:
            assert a == b, field.name


def test_a_built_table_has_the_given_values(tmp_path: Path) -> None:
    table = build(tmp_path)
    assert len(table) == 3
    assert table.videos == ("a", "a empty", "a file")
    assert table.sources == ("", "", "clip.mp4")
    assert table.video.tolist() == [0, 0, 2]
    assert table.number.tolist() == [0, 1, 5]
    assert table.files.to_pylist() == ["a/ä 0.jpg", "a/1.jpg", None]
    assert (table.width.tolist(), table.height.tolist()) == ([64, 64, 0], [48, 48, 0])
    assert table.listed.tolist() == [True, False, True]
    assert table.image_ids.tolist() == [1, 77, 3]
    assert table.offsets.tolist() == [0, 2, 2, 3]
    assert table.box_frames.tolist() == [0, 0, 2]
    assert table.boxes.tolist() == [[1, 2, 3.5, 4], [0, 0, 5, 5], [9, 9, 10, 10]]
    assert table.labels.tolist() == [1, 0, 0]
    assert table.tracks.tolist() == [9, NO_TRACK, NO_TRACK]
    assert table.occluded.tolist() == [True, False, False]
    assert table.generated.tolist() == [False, False, True]
    assert table.difficult.tolist() == [False, True, True]
    assert table.crowds.tolist() == [False, False, True]
    assert table.object_areas.tolist() == [5, 25, 0.5]
    assert [table.frames_of(v) for v in range(3)] == [slice(0, 2), slice(2, 2), slice(2, 3)]
    assert table.describe(1) == str(tmp_path / "a/1.jpg")
    assert table.describe(2) == f"{tmp_path / 'clip.mp4'}, frame 5"


def test_a_saved_table_is_loaded(tmp_path: Path) -> None:
    table = build(tmp_path)
    table.save(tmp_path / "index.parquet")
    assert_same(load_annotations(tmp_path / "index.parquet"), table)


def test_an_empty_table_is_loaded(tmp_path: Path) -> None:
    table = AnnotationBuilder((), root=tmp_path).build()
    table.save(tmp_path / "index.parquet")
    assert_same(load_annotations(tmp_path / "index.parquet"), table)


def test_a_table_in_many_row_groups_is_loaded(tmp_path: Path) -> None:
    table = concatenate([build(tmp_path, name) for name in "abcdefgh"])
    table.save(tmp_path / "one.parquet")
    pq.write_table(pq.read_table(tmp_path / "one.parquet"), tmp_path / "many.parquet", row_group_size=5)
    assert_same(load_annotations(tmp_path / "many.parquet"), table)


def test_tables_are_concatenated(tmp_path: Path) -> None:
    one, two = build(tmp_path, "a"), build(tmp_path, "b")
    both = concatenate([one, two])
    assert both.videos == (*one.videos, *two.videos)
    assert both.video.tolist() == [0, 0, 2, 3, 3, 5]
    assert both.offsets.tolist() == [0, 2, 2, 3, 5, 5, 6]
    assert_same(concatenate([one]), one)


def test_selecting_frames_keeps_their_boxes(tmp_path: Path) -> None:
    table = build(tmp_path)
    frames = table.select(np.array([False, True, True]))
    assert frames.files.to_pylist() == ["a/1.jpg", None]
    assert (frames.offsets.tolist(), frames.boxes.tolist()) == ([0, 0, 1], [[9, 9, 10, 10]])


def test_files_that_are_not_an_index_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none.parquet: no such file"):
        load_annotations(tmp_path / "none.parquet")
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 and then not")
    with pytest.raises(InputError, match="broken.parquet: cannot be read"):
        load_annotations(broken)
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"x": [1]}), other)
    with pytest.raises(InputError, match="other.parquet: expected an index"):
        load_annotations(other)


def test_an_index_of_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "index.parquet"
    build(tmp_path).save(path)
    table = pq.read_table(path)
    about = table.schema.metadata[b"megavid"].replace(b'"annotations": 2', b'"annotations": 1')
    pq.write_table(table.replace_schema_metadata({"megavid": about}), path)
    with pytest.raises(
        InputError, match=r"index.parquet: expected an index of version 2, got 1; make it again"
    ):
        load_annotations(path)


def test_two_videos_with_one_name_are_refused(tmp_path: Path) -> None:
    builder = AnnotationBuilder(("cat",), root=tmp_path)
    for source in ("", "b/x.mp4"):
        builder.video("x", source=source)
        builder.frame(0, file=None if source else "a/0.jpg")
    with pytest.raises(InputError, match=r"got 'x' twice: a/0.jpg and b/x.mp4"):
        builder.build()
    one = build(tmp_path)
    with pytest.raises(InputError, match=r"got 'a' twice: a/ä 0.jpg and a/ä 0.jpg"):
        concatenate([one, one])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_box_that_is_not_finite_is_refused(tmp_path: Path, value: float) -> None:
    table = build(tmp_path)
    boxes = table.boxes.copy()
    boxes[2, 1] = value
    with pytest.raises(
        InputError, match=r"clip.mp4, frame 5: expected a box of finite numbers, got 9, (nan|inf)"
    ):
        replace(table, boxes=boxes)


def test_saving_to_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        build(tmp_path).save(tmp_path / "none" / "index.parquet")


def test_problems_are_raised_or_collected() -> None:
    with pytest.raises(InputError, match="^a.xml, object 2: expected a number$"):
        Problems().add(Kind.UNREADABLE, "a.xml, object 2", "expected a number")
    with pytest.raises(InputError, match="^a.xml: is broken; mend it$"):
        Problems(hint="mend it").add(Kind.UNREADABLE, "a.xml", "is broken")
    problems = Problems(skip=True)
    for kind in (Kind.GAP, Kind.INVERTED, Kind.GAP):
        problems.add(kind, "x", "y")
    assert problems.counts() == {Kind.GAP: 2, Kind.INVERTED: 1}
    assert str(problems.found[0]) == "x: y"


def test_frame_numbers_of_64_bits_are_kept(tmp_path: Path) -> None:
    """Some cameras name images by milliseconds or nanoseconds since 1970."""
    numbers = [1_700_000_000_123, 1_700_000_000_163, 1_700_000_000_123_456_789]
    builder = AnnotationBuilder(("cat",), root=tmp_path)
    builder.video("a")
    for number in numbers:
        builder.frame(number)
    table = builder.build()
    table.save(tmp_path / "index.parquet")
    assert table.number.tolist() == load_annotations(tmp_path / "index.parquet").number.tolist() == numbers
    assert table.describe(0) == "a, frame 1700000000123"


@pytest.mark.parametrize(
    ("frame", "box", "message"),
    [
        ({"number": 1 << 62}, {}, "frame number: expected .*, got 4611686018427387904"),
        ({"number": -(1 << 70)}, {}, "frame number: expected"),
        ({"width": 1 << 31}, {}, "width: expected 0 to 2147483647, got 2147483648"),
        ({"height": -1}, {}, "height: expected 0 to 2147483647, got -1"),
        ({"image_id": 1 << 63}, {}, "image id: expected"),
        ({}, {"track": 1 << 63}, "track id: expected"),
        ({}, {"label": 1}, "label: expected 0 to 0, got 1"),
        ({}, {"x2": 10**400}, "expected a box of finite numbers"),
        ({}, {"x2": 1e39}, "expected a box of finite numbers, got 0, 0, inf, 1"),
        ({"file": "\udcff.jpg"}, {}, r"expected a file name in UTF-8"),
    ],
)
def test_numbers_out_of_range_and_invalid_file_names_are_refused(
    tmp_path: Path, frame: dict[str, Any], box: dict[str, Any], message: str
) -> None:
    def build_one() -> Annotations:
        builder = AnnotationBuilder(("cat",), root=tmp_path)
        builder.video("a")
        builder.frame(**{"number": 0, "file": "a/0.jpg", **frame})
        builder.box(**{"x1": 0, "y1": 0, "x2": 1, "y2": 1, "label": 0, **box})
        return builder.build()

    with pytest.raises(InputError, match=message):
        build_one()
