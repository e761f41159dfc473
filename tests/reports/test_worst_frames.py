"""Choosing the frames with the most errors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from megavid.datasets.table.annotations import AnnotationBuilder, Annotations
from megavid.reports.worst_frames import worst_frames


def frames(*lengths: int) -> Annotations:
    """Make a video for each length, with that number of frames."""
    builder = AnnotationBuilder(("cat",), root=Path("/data"))
    for video, length in enumerate(lengths):
        builder.video(f"v{video}")
        for number in range(length):
            builder.frame(number)
    return builder.build()


def test_each_video_gets_a_frame_before_any_gets_two_and_frames_are_not_close() -> None:
    errors = np.zeros(60, np.int64)
    errors[[4, 5, 14, 29]] = [5, 9, 6, 7]  # in video 0; frames 4 and 14 are too close to frame 5
    errors[[30, 45]] = [1, 2]
    assert worst_frames(frames(30, 30), errors, count=4) == [5, 45, 29, 30]
    assert worst_frames(frames(30, 30), errors, count=3) == [5, 45, 29]
    assert worst_frames(frames(30, 30), errors, count=1) == [5]


def test_frames_are_at_least_a_tenth_of_a_long_video_apart() -> None:
    errors = np.zeros(300, np.int64)
    errors[[100, 129, 130, 71]] = [9, 8, 7, 6]
    assert worst_frames(frames(300), errors, count=9) == [100, 130]
    assert worst_frames(frames(300), errors * 0, count=9) == []


def test_distances_are_measured_in_frame_numbers() -> None:
    sparse = replace(frames(3), number=np.array([0, 50, 100]))
    assert worst_frames(sparse, np.array([1, 2, 3]), count=9) == [2, 1, 0]
