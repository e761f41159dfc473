"""Splitting data sets for training and validation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from megavid.core.errors import InputError
from megavid.datasets.split import find_videos, split_in_time, split_videos
from megavid.datasets.table.annotations import AnnotationBuilder, Annotations


def data_set(videos: Sequence[tuple[int, Sequence[int]]]) -> Annotations:
    """Make videos, given the number of frames of each and the labels of the boxes in its first frame."""
    builder = AnnotationBuilder(("cat", "dog", "fox"), root=Path("/nowhere"))
    for number, (frames, labels) in enumerate(videos):
        builder.video(f"clip_{number}")
        for frame in range(frames):
            builder.frame(frame)
            for label in labels if frame == 0 else ():
                builder.box(0, 0, 1, 1, label=label)
    return builder.build()


def test_frames_and_classes_are_divided_by_share() -> None:
    # Five videos have cats, five have dogs: a share of 0.2 for validation is one of each.
    data = data_set([(4, [number % 2]) for number in range(10)])
    for seed in range(5):
        chosen = split_videos(data, share=0.2, seed=seed)
        assert chosen.sum() == 2
        assert sorted(number % 2 for number in chosen.nonzero()[0]) == [0, 1]
    assert (split_videos(data, share=0.2, seed=3) == split_videos(data, share=0.2, seed=3)).all()


def test_videos_are_weighted_by_length() -> None:
    # A fifth of 100 frames: the video of 20 frames or the ten videos of 2 frames, but not the video of 60.
    data = data_set([(60, [0]), (20, [0]), *[(2, [0])] * 10])
    frames = [60, 20, *[2] * 10]
    chosen = split_videos(data, share=0.2)
    assert sum(n for n, is_chosen in zip(frames, chosen, strict=True) if is_chosen) in range(16, 25)


def test_classes_are_in_both_subsets_if_possible() -> None:
    # Video 0 has exactly a fifth of the frames, but no dogs: for dogs, video 1 or 3 must be chosen.
    data = data_set([(20, [0]), (30, [0, 1]), (25, [0]), (25, [0, 1])])
    for seed in range(5):
        assert split_videos(data, share=0.2, seed=seed)[[1, 3]].any()
    # The foxes are only in video 0, so that video is for training.
    data = data_set([(10, [0, 2]), (10, [0]), (10, [0]), (10, [0])])
    for seed in range(5):
        assert not split_videos(data, share=0.3, seed=seed)[0]


@pytest.mark.parametrize("share", [0.01, 0.99])
def test_each_subset_has_a_video(share: float) -> None:
    chosen = split_videos(data_set([(3, [0]), (3, [1]), (3, [])]), share=share)
    assert 0 < chosen.sum() < 3


def test_videos_without_frames_are_in_neither_subset() -> None:
    assert split_videos(data_set([(0, []), (5, [0]), (5, [0])]), share=0.5)[0] == 0
    with pytest.raises(ValueError, match="two videos or more"):
        split_videos(data_set([(5, [0]), (0, [])]), share=0.5)


def test_videos_can_be_chosen_by_name() -> None:
    builder = AnnotationBuilder(("cat",), root=Path("/nowhere"))
    for name in ("a/pond.mp4", "b/river", "c/river", "empty"):
        builder.video(name)
        if name != "empty":
            builder.frame(0)
    data = builder.build()
    assert find_videos(data, ["a/pond.mp4"]).tolist() == [True, False, False, False]
    assert find_videos(data, ["pond", "b/river"]).tolist() == [True, True, False, False]
    for name, message in (
        ("lake", "'lake': expected the name of one video, such as a/pond.mp4, b/river, c/river"),
        ("river", "'river': expected the name of one video, such as b/river, c/river"),
        ("empty", "'empty': expected the name of one video"),
    ):
        with pytest.raises(InputError, match=message):
            find_videos(data, [name])


def test_each_video_is_split_in_time() -> None:
    # Between the parts, 10 of 100 frames and 24 of 500 frames are unused. A video of 9 frames is not split.
    data = data_set([(100, [0]), (9, [0]), (500, [0]), (10, [0])])
    train, val = split_in_time(data, share=0.2)
    assert not (train & val).any()
    counts = [(int(train[data.frames_of(v)].sum()), int(val[data.frames_of(v)].sum())) for v in range(4)]
    assert counts == [(70, 20), (9, 0), (376, 100), (7, 2)]
    assert data.number[train & (data.video == 0)].tolist() == list(range(70))
    assert data.number[val & (data.video == 0)].tolist() == list(range(80, 100))


@pytest.mark.parametrize("share", [0.001, 0.999])
def test_each_part_of_a_video_has_a_frame(share: float) -> None:
    train, val = split_in_time(data_set([(50, [0])]), share=share)
    assert train.sum() >= 1
    assert val.sum() >= 1
