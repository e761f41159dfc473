"""Sizes and frame numbers of videos in the metadata of predictions files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from megavid.core.errors import InputError
from megavid.datasets.formats.frame_runs import FrameRuns, expand_runs, join_runs
from megavid.evaluation.formats.parquet_metadata import parse_metadata
from megavid.evaluation.formats.parquet_schema import read_metadata
from megavid.evaluation.formats.parquet_writer import PredictionWriter
from megavid.evaluation.formats.video_info import frame_numbers, read_video_info
from megavid.evaluation.prediction_table import PredictionTable
from tests.evaluation.prediction_tables import frame_result, make_table


@pytest.mark.parametrize(
    ("numbers", "runs"),
    [
        ([], []),
        ([7], [[7, 7, 1]]),
        ([0, 1, 2, 3], [[0, 3, 1]]),
        ([0, 5, 10], [[0, 10, 5]]),
        ([2, 3, 4, 9, 11, 13, 14], [[2, 4, 1], [9, 13, 2], [14, 14, 1]]),
    ],
)
def test_numbers_are_collected_as_runs(numbers: list[int], runs: list[list[int]]) -> None:
    assert FrameRuns(numbers).runs == runs
    info = read_video_info({"video_info": {"a": {"frame_numbers": runs}}}, "a", origin="x")
    assert info.frames is not None
    assert info.frames.tolist() == numbers


@pytest.mark.parametrize(
    ("runs", "later", "joined"),
    [
        ([], [[0, 5, 1]], [[0, 5, 1]]),
        ([[0, 5, 1]], [], [[0, 5, 1]]),
        ([[0, 2, 1]], [[3, 5, 1]], [[0, 5, 1]]),
        ([[0, 8, 4]], [[12, 12, 1]], [[0, 12, 4]]),
        ([[0, 0, 1]], [[4, 12, 4]], [[0, 12, 4]]),
        ([[0, 0, 1]], [[4, 4, 1]], [[0, 4, 4]]),
        ([[0, 2, 1]], [[4, 6, 1]], [[0, 2, 1], [4, 6, 1]]),
        ([[0, 2, 1]], [[3, 9, 2], [20, 20, 1]], [[0, 2, 1], [3, 9, 2], [20, 20, 1]]),
    ],
)
def test_runs_of_neighboring_stretches_are_joined(
    runs: list[list[int]], later: list[list[int]], joined: list[list[int]]
) -> None:
    assert join_runs(runs, later) == joined
    assert expand_runs(joined, "").tolist() == [
        *expand_runs(runs, "").tolist(),
        *expand_runs(later, "").tolist(),
    ]


def test_size_and_frames_without_boxes_are_recorded(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    writer = PredictionWriter(path, metadata={})
    writer.set_size("a", width=640, height=480)
    for index in (0, 4, 8):
        writer.write("a", frame_result(index))
    writer.write("b", frame_result(3, (0, 0.5, 1, 2, 3, 4)))
    writer.close()
    about = read_metadata(path)
    one, two = (read_video_info(about, name, origin=path) for name in "ab")
    assert one.frames is not None
    assert (one.size, one.frames.tolist()) == ((640, 480), [0, 4, 8])
    assert two.frames is not None
    assert (two.size, two.frames.tolist()) == (None, [3])


def test_what_was_known_before_is_kept(tmp_path: Path) -> None:
    """A file that is written from another one, with its metadata, keeps the size of the frames."""
    before = {"video_info": {"a": {"width": 640, "height": 480, "frame_numbers": [[0, 9, 1]]}}}
    writer = PredictionWriter(tmp_path / "p.parquet", metadata=before)
    writer.write("a", frame_result(0))
    writer.close()
    info = read_metadata(tmp_path / "p.parquet")["video_info"]
    assert info == {"a": {"width": 640, "height": 480, "frame_numbers": [[0, 0, 1]]}}


def test_files_without_the_key_tell_nothing() -> None:
    info = read_video_info({"classes": ["a"]}, "a", origin="x")
    assert (info.size, info.frames) == (None, None)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"width": 0}, "video_info.a.width"),
        ({"width": "640"}, "video_info.a.width"),
        ({"frame_numbers": [[-1, 0, 1]]}, "got \\[-1, 0, 1\\]"),
        ({"frame_numbers": [[0, 2**62, 1]]}, "got \\[0, 4611686018427387904, 1\\]"),
        ({"frame_numbers": 3}, "video_info.a.frame_numbers"),
        ({"frame_numbers": [[3, 1, 1]]}, "got \\[3, 1, 1\\]"),
        ({"frame_numbers": [[0, 1, 0]]}, "got \\[0, 1, 0\\]"),
        ({"frame_numbers": [[0, 1]]}, "got \\[0, 1\\]"),
        ({"frame_numbers": [[0, 9, 1], [9, 9, 1]]}, "ascending runs .* got \\[9, 9, 1\\]"),
        ({"frame_numbers": [[0, 10**9, 1]]}, "at most 5000000 frames, got 1000000001"),
    ],
)
def test_invalid_entries_are_refused(entry: dict[str, Any], expected: str) -> None:
    content = json.dumps({"classes": ["a"], "video_info": {"a": entry}}).encode()
    with pytest.raises(InputError, match=f"^x.*{expected}"):
        read_video_info(parse_metadata(content, origin="x"), "a", origin="x")


def table_of(
    frames: list[int], *, length: int | None, metadata: dict[str, Any] | None = None
) -> PredictionTable:
    """Make a table with a box in frame 0 of another video and in each of the frames of video a."""
    n = len(frames) + 1
    return make_table(
        videos=("b", "a"),
        video=np.array([0] + [1] * (n - 1), np.int32),
        frame=np.array([0, *frames]),
        labels=np.zeros(n, np.int32),
        scores=np.full(n, 0.5, np.float32),
        boxes=np.zeros((n, 4), np.float32),
        lengths=None if length is None else {"a": length},
        metadata=metadata or {},
    )


@pytest.mark.parametrize(
    ("frames", "length", "every", "expected"),
    [
        ([0, 2], 5, 1, [0, 1, 2, 3, 4]),
        ([0, 2], None, 1, [0, 1, 2]),  # up to the last frame with boxes
        ([5, 15], 5, 5, [0, 5, 10, 15, 20]),
        ([10], None, 5, [0, 5, 10]),
        ([0, 1 << 40], 5, 1, [0, 1 << 40]),  # the frames between would not fit in memory
        ([0, 1 << 40], None, 1, [0, 1 << 40]),
        ([1, 4], 4, 1, [1, 2, 3, 4]),  # numbered from 1: 4 is not one of the first four frames
        ([7, 8, 20, 100], 9, 1, [7, 8, 20, 100]),  # nothing tells the other five
        ([0, 100], 3, 1, [0, 100]),
        ([3, 7], None, 5, [3, 7]),  # not in steps of five
    ],
)
def test_unrecorded_frame_numbers(
    frames: list[int], length: int | None, every: int, expected: list[int]
) -> None:
    table = table_of(frames, length=length, metadata={"every": every})
    assert frame_numbers(table, "a").tolist() == expected


@pytest.mark.parametrize(
    ("frames", "length", "every", "expected"),
    [
        ([10, 12], 3, 1, [10, 11, 12]),  # interrupted: the first three of the known frames
        ([10, 14], 3, 1, [10, 11, 12, 14, 17]),  # one of the known frames could not be read
        ([10], None, 1, [10, 11, 12, 14, 17]),
        ([], 2, 1, [10, 11]),
        ([12], 5, 2, [10, 12, 14]),
        ([0], 2, 1, [0, 1]),  # the known frames are others
    ],
)
def test_known_frames_take_the_place_of_unrecorded_ones(
    frames: list[int], length: int | None, every: int, expected: list[int]
) -> None:
    table = table_of(frames, length=length, metadata={"every": every})
    known = np.array([10, 11, 12, 14, 17])
    assert frame_numbers(table, "a", known=known).tolist() == expected


def test_recorded_frame_numbers_are_those_that_were_detected() -> None:
    recorded = {"video_info": {"a": {"frame_numbers": [[1, 5, 2], [6, 6, 1]]}}}
    table = table_of([3], length=2, metadata=recorded)
    assert frame_numbers(table, "a", known=np.arange(9)).tolist() == [1, 3, 5, 6]
    message = r"p\.parquet: video 'a', frame 2: expected one of the 4 frames that the metadata says there are"
    with pytest.raises(InputError, match=message):
        frame_numbers(table_of([2, 3], length=2, metadata=recorded), "a")


def test_claims_of_too_many_frames_are_refused_before_they_take_memory() -> None:
    with pytest.raises(InputError, match="video 'a': expected at most 5000000 frames, got 1125899906842624"):
        frame_numbers(table_of([0], length=1 << 50), "a")
    table = table_of([0], length=3, metadata={"every": 1 << 80})
    assert frame_numbers(table, "a").tolist() == [0]
