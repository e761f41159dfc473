"""Videos to validate on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from megavid.core.annotations import AnnotationBuilder, Annotations
from megavid.data.split import split_videos


def data_set(videos: Sequence[tuple[int, Sequence[int]]]) -> Annotations:
    """Videos of so many frames, with a box of each of the labels in their first."""
    builder = AnnotationBuilder(("cat", "dog", "fox"), root=Path("/nowhere"))
    for number, (frames, labels) in enumerate(videos):
        builder.video(f"clip_{number}")
        for frame in range(frames):
            builder.frame(frame)
            for label in labels if frame == 0 else ():
                builder.box(0, 0, 1, 1, label=label)
    return builder.build()


def test_frames_and_classes_are_shared_out() -> None:
    # Cats in half of the videos, dogs in the others; two of ten are wanted.
    data = data_set([(4, [number % 2]) for number in range(10)])
    for seed in range(5):
        chosen = split_videos(data, share=0.2, seed=seed)
        assert chosen.sum() == 2
        assert sorted(number % 2 for number in chosen.nonzero()[0]) == [0, 1]
    assert (split_videos(data, share=0.2, seed=3) == split_videos(data, share=0.2, seed=3)).all()


def test_long_videos_count_as_long() -> None:
    # 100 frames in all: a fifth is the video of 20, or the ten of 2, not the one of 60.
    data = data_set([(60, [0]), (20, [0]), *[(2, [0])] * 10])
    frames = [60, 20, *[2] * 10]
    chosen = split_videos(data, share=0.2)
    assert sum(n for n, is_chosen in zip(frames, chosen, strict=True) if is_chosen) in range(16, 25)


@pytest.mark.parametrize("share", [0.01, 0.99])
def test_both_sides_have_a_video(share: float) -> None:
    chosen = split_videos(data_set([(3, [0]), (3, [1]), (3, [])]), share=share)
    assert 0 < chosen.sum() < 3


def test_videos_without_frames_are_nobodys() -> None:
    assert split_videos(data_set([(0, []), (5, [0]), (5, [0])]), share=0.5)[0] == 0
    with pytest.raises(ValueError, match="two videos or more"):
        split_videos(data_set([(5, [0]), (0, [])]), share=0.5)
