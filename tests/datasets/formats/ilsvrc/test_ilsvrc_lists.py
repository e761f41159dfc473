"""Reading the lists of videos and images of ImageNet VID and DET."""

from __future__ import annotations

from pathlib import Path

import pytest

from megavid.core.errors import InputError
from megavid.datasets.formats.ilsvrc.ilsvrc_lists import (
    VideoEntry,
    key_frames,
    read_still_list,
    read_train_list,
    read_val_list,
)
from megavid.datasets.table.problems import Problems
from tests.conftest import SHARED, require_shared
from tests.datasets.formats.ilsvrc.ilsvrc_set import SYNSETS


@pytest.mark.parametrize(
    ("length", "frames"),
    [(1, [0]), (3, [0, 1, 2]), (15, list(range(15))), (300, list(range(10, 300, 20)))],
)
def test_key_frames_are_spread_evenly(length: int, frames: list[int]) -> None:
    assert key_frames(length) == frames


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("train/a 1 2", "line 2: expected a name and 3 numbers, got 'train/a 1 2'"),
        ("train/a 1 x 4", "line 2: expected a name and 3 numbers"),
        ("train/a 1 0 4", "line 2: train/a, frame 0: is in the list twice"),
        (f"train/b 1 0 {'9' * 5000}", "line 2: expected numbers up to 1000000, got 'train/b 1 0 999"),
        ("train/b 1 0 9999999", "line 2: train/b: expected at most 1000000 frames, got 9999999"),
        ("train/a 1 4 4", "line 2: expected a frame of train/a's 4, got 4 of 4"),
        ("train/a 1 2 5", "line 2: expected a frame of train/a's 4, got 2 of 5"),
    ],
)
def test_bad_lines_of_a_training_list_are_refused_or_skipped(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "list.txt"
    path.write_text(f"train/a 1 0 4\n{line}\ntrain/b c 1 1 2\n")
    with pytest.raises(InputError, match=message):
        read_train_list(path, problems=Problems())
    videos = read_train_list(path, problems=Problems(skip=True))
    assert videos == [
        VideoEntry("train/a", range(4), frozenset({0})),
        VideoEntry("train/b c", range(2), frozenset({1})),
    ]


def test_a_video_with_only_bad_lines_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("train/a 1 0 0\ntrain/b 1 0 1\n")
    with pytest.raises(InputError, match="line 1: expected a frame of train/a's 0, got 0 of 0"):
        read_train_list(path, problems=Problems())
    videos = read_train_list(path, problems=Problems(skip=True))
    assert [video.folder for video in videos] == ["train/b"]
    path.write_text("val/a 1 0 0\nval/b 1 0 1\n")
    with pytest.raises(InputError, match="line 1: val/a: expected a length from 1 to 1000000, got 0"):
        read_val_list(path, problems=Problems())
    assert [video.folder for video in read_val_list(path, problems=Problems(skip=True))] == ["val/b"]


def test_a_list_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes("\ufeffval/ä 1 0 2\r\n".encode())
    assert read_val_list(path, problems=Problems()) == [VideoEntry("val/ä", range(2))]


def test_repeated_lines_are_refused_for_videos_and_ignored_for_images(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("val/a 1 0 4\nval/a 5 0 4\n")
    with pytest.raises(InputError, match="line 2: val/a: is in the list twice"):
        read_val_list(path, problems=Problems())
    path.write_text("train/a 1\ntrain/a 1\n")
    assert read_still_list(path, problems=Problems()) == [VideoEntry("train/a", ())]


def test_the_published_lists_are_read() -> None:
    lists = require_shared(SHARED / "lists")
    train = read_train_list(lists / "VID_train_15frames.txt", problems=Problems())
    assert len(train) == 3862
    assert sum(len(entry.listed or ()) for entry in train) == 57834
    # `key_frames` chooses the listed frames. Where (i + 0.5) n / 15 is a whole number, in a video of n
    # frames, the list may have the frame before it.
    for entry in train:
        pairs = zip(sorted(entry.listed or ()), key_frames(len(entry)), strict=True)
        for i, (theirs, ours) in enumerate(pairs):
            assert theirs == ours or (theirs == ours - 1 and (2 * i + 1) * len(entry) % 30 == 0)
    val = read_val_list(lists / "VID_val_videos.txt", problems=Problems())
    assert (len(val), sum(map(len, val))) == (555, 176126)
    # 401 of the 53,638 lines repeat an image of an earlier line.
    assert len(read_still_list(lists / "DET_train_30classes.txt", problems=Problems())) == 53638 - 401
    assert len(SYNSETS) == 30
