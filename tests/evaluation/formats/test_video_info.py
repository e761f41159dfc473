"""Sizes and frame numbers of videos in the metadata of predictions files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from megavid.core.errors import InputError
from megavid.datasets.formats.frame_runs import FrameRuns
from megavid.evaluation.formats.parquet_metadata import parse_metadata
from megavid.evaluation.formats.parquet_schema import read_metadata
from megavid.evaluation.formats.parquet_writer import PredictionWriter
from megavid.evaluation.formats.video_info import read_video_info
from tests.evaluation.prediction_tables import frame_result


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
