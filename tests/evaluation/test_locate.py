"""Matching predictions to the videos, frames and classes of a data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from megavid.core.errors import InputError
from megavid.datasets.table.problems import Kind, Problems
from megavid.evaluation.formats.parquet_table import read_parquet, write_parquet
from megavid.evaluation.locate import detected_frames, locate
from tests.evaluation.prediction_tables import (
    make_data_set,
    make_table,
)


def test_boxes_get_the_rows_and_labels_of_the_data_set() -> None:
    located = locate(make_table(), make_data_set(b=[0], c=[], a=[3, 4]), problems=Problems())
    assert located.rows.tolist() == [0, 1, 2]
    assert located.frame.tolist() == [2, 2, 0]
    assert located.label.tolist() == [0, 1, 0]  # class 0 of the data set is dog, class 1 is cat


def test_frame_numbers_beyond_32_bits_stay_distinct(tmp_path: Path) -> None:
    low, high = 1_700_000_000_123, 1_700_000_000_123 + (1 << 32)
    table = make_data_set(a=[low, high], b=[low])
    write_parquet(make_table(frame=np.array([high, low, low])), tmp_path / "p.parquet")
    read = read_parquet(tmp_path / "p.parquet", problems=Problems())
    assert read.frame.tolist() == [high, low, low]
    assert locate(read, table, problems=Problems()).frame.tolist() == [1, 0, 2]


def test_predictions_for_frames_missing_in_the_data_set_are_refused() -> None:
    with pytest.raises(InputError, match=r"p.parquet, row 0: the data set lacks video 'a', frame 4$"):
        locate(make_table(), make_data_set(b=[0], a=[3]), problems=Problems())
    problems = Problems(skip=True)
    located = locate(make_table(), make_data_set(b=[0], a=[3, 5]), problems=problems)
    assert located.rows.tolist() == [2]
    assert problems.counts() == {Kind.NO_FRAME: 1}


def test_predictions_without_some_frames_of_the_data_set_are_refused() -> None:
    with pytest.raises(InputError, match=r"p.parquet: video 'c': has none of its 2 frames"):
        locate(make_table(), make_data_set(b=[0], a=[3, 4], c=[0, 1]), problems=Problems())
    with pytest.raises(InputError, match=r"video 'a': has 2 of its 3 frames"):
        locate(make_table(), make_data_set(b=[0], a=[3, 4, 5]), problems=Problems())
    unknown = make_table(lengths=None)
    assert len(locate(unknown, make_data_set(b=[0], a=[3, 4, 5]), problems=Problems()).rows) == 3


def test_predictions_of_classes_missing_in_the_data_set_are_refused() -> None:
    predictions = make_table(class_names=("cow", "dog"))
    with pytest.raises(InputError, match=r"row 1: expected one of the data set's classes, got 'cow'"):
        locate(predictions, make_data_set(a=[3, 4], b=[0]), problems=Problems())
    problems = Problems(skip=True)
    assert locate(predictions, make_data_set(a=[3, 4], b=[0]), problems=problems).rows.tolist() == [0, 2]
    unused = make_table(class_names=("cat", "dog", "cow"))
    assert len(locate(unused, make_data_set(a=[3, 4], b=[0]), problems=Problems()).rows) == 3


def test_names_that_differ_by_case_are_suggested() -> None:
    with pytest.raises(InputError, match=r"got 'Cat'; 'cat' differs by case or blanks only"):
        locate(make_table(class_names=("Cat", "dog")), make_data_set(a=[3, 4], b=[0]), problems=Problems())
    other = make_table(videos=("A", "b"), lengths=None)
    with pytest.raises(InputError, match=r"lacks video 'A', frame .*; 'a' differs by case or blanks only"):
        locate(other, make_data_set(a=[3, 4], b=[0]), problems=Problems())


@pytest.mark.parametrize(
    ("theirs", "ours", "fits"),
    [
        ("clip.mp4", "val/clip", True),
        ("x/clip", "clip", True),
        ("clip", "clip.mp4", True),
        ("clip", "other", False),
        ("clip.1", "clip.2", False),
    ],
)
def test_a_video_is_matched_by_its_basename(theirs: str, ours: str, fits: bool) -> None:
    predictions = make_table(
        videos=(theirs,),
        video=np.zeros(3, np.int32),
        frame=np.array([4, 4, 5]),
        lengths={theirs: 2},
    )
    problems = Problems(skip=True)
    located = locate(predictions, make_data_set(**{ours: [4, 5]}), problems=problems)
    assert located.frame.tolist() == ([0, 0, 1] if fits else [])
    assert bool(problems.found) != fits


def test_a_basename_must_be_unique_to_be_matched() -> None:
    predictions = make_table(videos=("clip.mp4", "b"), lengths={"clip.mp4": 1, "b": 1})
    fits = locate(predictions, make_data_set(**{"val/clip": [4], "b": [0], "c": []}), problems=Problems())
    assert fits.frame.tolist() == [0, 0, 1]
    for videos in ({"x/clip": [4], "y/clip": [4], "b": [0]}, {"b": [0], "clip.avi": [4]}):
        problems = Problems(skip=True)
        assert locate(predictions, make_data_set(**videos), problems=problems).rows.tolist() == [2]
    twice = make_table(videos=("clip.mp4", "clip"), lengths={"clip.mp4": 1, "clip": 1})
    # The predicted video with exactly the name in the data set is matched; the other one is not.
    problems = Problems(skip=True)
    assert locate(twice, make_data_set(clip=[0, 4]), problems=problems).rows.tolist() == [2]


def test_a_video_without_boxes_is_matched_by_its_basename() -> None:
    predictions = make_table(videos=(), lengths={"clip.mp4": 2}).take(np.array([], np.int64))
    assert len(locate(predictions, make_data_set(**{"val/clip": [4, 5]}), problems=Problems()).rows) == 0


def test_several_missing_frames_of_a_video_are_one_problem() -> None:
    predictions = make_table(frame=np.array([7, 9, 0]))
    problems = Problems(skip=True)
    assert locate(predictions, make_data_set(a=[4, 5], b=[0]), problems=problems).rows.tolist() == [2]
    assert [str(p) for p in problems.found] == [
        "p.parquet, row 0: the data set lacks video 'a', frame 7, and 1 more frames of it"
    ]


def test_detected_frames_are_those_that_the_file_records() -> None:
    data = make_data_set(**{"b": [0, 1], "c": [0], "val/a": [2, 3, 4, 5]})
    recorded = {"video_info": {"a": {"frame_numbers": [[2, 4, 2], [5, 5, 1]]}}}
    cases = (
        # One frame of video b was detected in, and none of video c.
        (make_table(metadata=recorded), [1, 0, 0, 1, 0, 1, 1]),
        (make_table(metadata={"every": 2}), [1, 0, 0, 1, 0, 1, 0]),
        (make_table(), [1, 0, 0, 1, 1, 1, 1]),  # a box is in frame 4: all may be
        (make_table(lengths=None, metadata={"every": 2}), [1] * 7),
    )
    for predictions, expected in cases:
        assert detected_frames(predictions, data).tolist() == [bool(x) for x in expected]
