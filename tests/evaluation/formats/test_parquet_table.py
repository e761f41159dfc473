"""Reading and writing prediction tables as Parquet files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from megavid.core.errors import InputError
from megavid.datasets.table.problems import Kind, Problems
from megavid.evaluation.formats.parquet_schema import METADATA_KEY
from megavid.evaluation.formats.parquet_table import read_parquet, write_parquet
from megavid.evaluation.formats.parquet_writer import PredictionWriter
from megavid.evaluation.locate import locate
from tests.evaluation.prediction_tables import (
    CLASSES,
    assert_same_rows,
    frame_result,
    make_data_set,
    make_table,
    write_file,
)


def test_a_file_of_the_prediction_writer_is_read_as_a_table(tmp_path: Path) -> None:
    rows = [(1, 0.9, 0, 0, 5, 5), (0, 0.5, 1, 1, 4, 4)]
    path = write_file(
        tmp_path / "p.parquet",
        "ä",
        frame_result(4, *rows),
        frame_result(5),
        frame_result(6, (1, 0.25, 2, 2, 3, 3)),
    )
    read = read_parquet(path, problems=Problems())
    expected = make_table(videos=("ä",), video=np.zeros(3, np.int32), frame=np.array([4, 4, 6]))
    assert_same_rows(read, expected)
    assert read.lengths == {"ä": 3}
    assert read.metadata["weights"] == "x"


def test_a_file_without_boxes_is_read(tmp_path: Path) -> None:
    read = read_parquet(write_file(tmp_path / "p.parquet", "a", frame_result(0)), problems=Problems())
    assert (len(read), read.videos, read.lengths, read.class_names) == (0, (), {"a": 1}, CLASSES)
    located = locate(read, make_data_set(a=[0]), problems=Problems())
    assert len(located.rows) == 0


def test_a_written_table_is_read_back(tmp_path: Path) -> None:
    write_parquet(make_table(), tmp_path / "p.parquet")
    read = read_parquet(tmp_path / "p.parquet", problems=Problems())
    assert_same_rows(read, make_table())
    assert read.lengths == {"a": 2, "b": 1}


def test_a_table_without_video_lengths_is_read_back(tmp_path: Path) -> None:
    write_parquet(make_table(lengths=None), tmp_path / "p.parquet")
    read = read_parquet(tmp_path / "p.parquet", problems=Problems())
    assert read.lengths is None
    assert len(locate(read, make_data_set(b=[0], a=[3, 4, 5]), problems=Problems()).rows) == 3


def test_tracks_class_scores_and_marks_are_read_back(tmp_path: Path) -> None:
    table = make_table(
        tracks=np.array([7, -1, 0]),
        class_scores=np.array([[0.1, 0.9], [0.5, 0.25], [0, 1]], np.float32),
        interpolated=np.array([False, True, False]),
    )
    write_parquet(table, tmp_path / "p.parquet")
    read = read_parquet(tmp_path / "p.parquet", problems=Problems(), class_scores=True)
    assert_same_rows(read, table)
    for name in ("tracks", "class_scores", "interpolated"):
        np.testing.assert_array_equal(getattr(read, name), getattr(table, name))
        assert getattr(read, name).dtype == getattr(table, name).dtype
    assert read_parquet(tmp_path / "p.parquet", problems=Problems()).class_scores is None
    taken = read.take(np.array([1]))
    assert taken.tracks is not None
    assert taken.interpolated is not None
    assert (taken.tracks.tolist(), taken.interpolated.tolist()) == ([-1], [True])


def test_columns_that_only_some_rows_have_are_filled_up(tmp_path: Path) -> None:
    tracked, untracked = frame_result(0, (1, 0.9, 0, 0, 5, 5)), frame_result(1, (1, 0.9, 0, 0, 5, 5))
    found = replace(tracked.detections, tracks=torch.tensor([3]), interpolated=torch.tensor([True]))
    path = write_file(tmp_path / "p.parquet", "a", replace(tracked, detections=found), untracked)
    read = read_parquet(path, problems=Problems())
    assert read.tracks is not None
    assert read.interpolated is not None
    assert (read.tracks.tolist(), read.interpolated.tolist()) == ([3, -1], [True, False])


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ([[0.5, 0.5], None, [0.5, 0.5]], "expected class scores for all boxes or for none, got 2 of 3"),
        ([[0.5, 0.5], [0.5, 0.5, 0.5], [0.5]], "expected 2 class scores for each box, got 3 in row 1"),
        ([[0.5, 0.5], [0.5, None], [0.5, 0.5]], "expected 2 class scores for each box, got null"),
        (
            [[0.5, 0.5], [0.5, 1.5], [0.5, 0.5]],
            "row 1: expected a score from 0 to 1 for each class: video 'a'",
        ),
        ([[0.5, 0.5], [0.5, np.nan], [0.5, 0.5]], "row 1: expected a score from 0 to 1 for each class"),
    ],
)
def test_invalid_class_scores_are_refused(tmp_path: Path, lists: list[Any], message: str) -> None:
    write_parquet(make_table(), tmp_path / "p.parquet")
    table = pq.read_table(tmp_path / "p.parquet")
    place = table.schema.get_field_index("class_scores")
    table = table.set_column(place, "class_scores", pa.array(lists, pa.list_(pa.float32())))
    pq.write_table(table, tmp_path / "p.parquet")
    with pytest.raises(InputError, match=f"p.parquet.*{message}"):
        read_parquet(tmp_path / "p.parquet", problems=Problems(), class_scores=True)
    read_parquet(tmp_path / "p.parquet", problems=Problems())  # scores of other classes are not needed


def test_a_file_with_many_row_groups_is_read(tmp_path: Path) -> None:
    writer = PredictionWriter(tmp_path / "p.parquet", metadata={})
    for i in range(3000):
        writer.write(f"video {i // 100}", frame_result(i, (i % 2, 0.5, 0, 0, i + 1, 1)))
    writer.close()
    read = read_parquet(tmp_path / "p.parquet", problems=Problems())
    assert [read.videos[v] for v in read.video] == [f"video {i // 100}" for i in range(3000)]
    assert read.boxes[:, 2].tolist() == [i + 1 for i in range(3000)]
    assert read.lengths == {f"video {i}": 100 for i in range(30)}


def test_a_video_name_that_is_not_unicode_is_written_with_a_question_mark(tmp_path: Path) -> None:
    path = write_file(tmp_path / "p.parquet", "a\udcff", frame_result(0, (1, 0.9, 0, 0, 5, 5)))
    read = read_parquet(path, problems=Problems())
    assert read.videos == ("a?",)
    assert read.lengths == {"a?": 1}


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none.parquet: no such file"):
        read_parquet(tmp_path / "none.parquet", problems=Problems())
    (tmp_path / "x.parquet").write_bytes(b"no")
    with pytest.raises(InputError, match=r"x.parquet: cannot be read as predictions"):
        read_parquet(tmp_path / "x.parquet", problems=Problems())
    make_data_set(a=[0]).save(tmp_path / "index.parquet")
    with pytest.raises(InputError, match=r"index.parquet: expected predictions .* it has other columns"):
        read_parquet(tmp_path / "index.parquet", problems=Problems())
    path = write_file(tmp_path / "p.parquet", "a", frame_result(0, (1, 0.9, 0, 0, 5, 5)))
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata(), tmp_path / "bare.parquet")
    with pytest.raises(InputError, match=r"bare.parquet: expected predictions .* 'megavid' is missing"):
        read_parquet(tmp_path / "bare.parquet", problems=Problems())
    null = table.set_column(6, "score", pa.nulls(1, pa.float32()))
    null = null.replace_schema_metadata({METADATA_KEY: '{"classes": ["cat", "dog"]}'})
    pq.write_table(null, tmp_path / "null.parquet")
    with pytest.raises(InputError, match=r"null.parquet: expected a value in each row of video, frame"):
        read_parquet(tmp_path / "null.parquet", problems=Problems())


def test_a_file_with_a_video_name_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    path = write_file(tmp_path / "p.parquet", "name", frame_result(0, (1, 0.9, 0, 0, 5, 5)))
    content = path.read_bytes()
    assert content.count(b"name") > 1
    path.write_bytes(
        content.replace(b"name", b"n\xffme", 1)
    )  # the first occurrence is in the column of videos
    with pytest.raises(InputError, match=r"p.parquet: cannot be read as predictions"):
        read_parquet(path, problems=Problems())


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ("[" * 100_000, "x.parquet, metadata: expected JSON, got lists or objects nested too deep"),
        ("[]", "x.parquet, metadata: expected an object in JSON, got list"),
        ('{"classes": ["a", 1]}', r"x.parquet, metadata: classes.1: should be a valid string, got 1"),
        ('{"classes": "ab"}', "classes: should be a valid list, got 'ab'"),
        ('{"classes": ["a"], "videos": ["a"]}', "videos: should be a valid dictionary"),
        ('{"classes": ["a"], "videos": {"a": -1}}', "videos.a: should be greater than or equal to 0, got -1"),
        ('{"classes": ["a"], "videos": {"a": 1e400}}', "videos.a: should be a valid integer, got inf"),
        ('{"classes": ["a"], "every": 0}', "every: should be greater than or equal to 1, got 0"),
        ('{"classes": ["a"], "config": {"method": 3}}', "config.method: should be a valid dictionary, got 3"),
        ('{"classes": ["a"], "weights_sha256": 3}', "weights_sha256: should be a valid string, got 3"),
        ('{"config": {"classes": 3}}', "expected predictions that megavid wrote; 'classes' is missing"),
        ('{"frames": 3}', "expected predictions that megavid wrote; 'classes' is missing"),
    ],
)
def test_invalid_metadata_is_refused(tmp_path: Path, about: str, message: str) -> None:
    path = write_file(tmp_path / "p.parquet", "a", frame_result(0, (1, 0.9, 0, 0, 5, 5)))
    table = pq.read_table(path).replace_schema_metadata({METADATA_KEY: about})
    pq.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(InputError, match=message):
        read_parquet(tmp_path / "x.parquet", problems=Problems())


@pytest.mark.parametrize("frame", [-1, 2**62])
def test_an_invalid_frame_number_is_refused(tmp_path: Path, frame: int) -> None:
    path = write_file(tmp_path / "p.parquet", "a", frame_result(frame, (1, 0.9, 0, 0, 5, 5)))
    with pytest.raises(InputError, match=rf"row 0: expected a frame from 0 to 46\d+, got {frame}"):
        read_parquet(path, problems=Problems())


@pytest.mark.parametrize(
    ("column", "value", "kind", "message"),
    [
        ("scores", np.nan, Kind.BAD_ROW, "row 1: expected finite numbers: video 'a', frame 4"),
        ("boxes", np.inf, Kind.BAD_ROW, "row 1: expected finite numbers: .* box inf, inf"),
        ("scores", 1.5, Kind.BAD_ROW, "row 1: expected a score from 0 to 1: .* score 1.5"),
        ("boxes", [5, 0, 4, 9], Kind.INVERTED, "row 1: expected x1 <= x2 .* box 5, 0, 4, 9"),
    ],
)
def test_invalid_rows_are_refused_or_skipped(
    tmp_path: Path, column: str, value: Any, kind: Kind, message: str
) -> None:
    changed = getattr(make_table(), column).copy()
    changed[1] = value
    write_parquet(make_table(**{column: changed}), tmp_path / "p.parquet")
    with pytest.raises(InputError, match=message):
        read_parquet(tmp_path / "p.parquet", problems=Problems())
    problems = Problems(skip=True)
    read = read_parquet(tmp_path / "p.parquet", problems=problems)
    assert [p.kind for p in problems.found] == [kind]
    assert read.scores.tolist() == [pytest.approx(0.9), 0.25]
