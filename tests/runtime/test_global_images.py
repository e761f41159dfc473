"""The order in which a video's global frames are read."""

from __future__ import annotations

import numpy as np
import pytest

from megavid.core.frames import Image
from megavid.core.reference_plans import global_indexes, global_order
from megavid.runtime.global_images import GlobalImages


class Recording:
    """A video whose frames are filled with their numbers. It records which frames are read."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.read: list[int] = []

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Image:
        self.read.append(index)
        return np.full((2, 2, 3), index, np.uint8)


def play(source: Recording, order: list[int], *, size: int, image_bytes: int, start: int = 0) -> None:
    """Read global frames as a session does: only those that were neither pushed nor read before."""
    images = GlobalImages(source, order, size=size, start=start)
    known: set[int] = set()
    for step in range(start, len(source)):
        known.add(step)
        for index in global_indexes(order, step, size):
            if index not in known:
                image = images.read(
                    index,
                    step=step,
                    pushed=step + 1,
                    image_bytes=image_bytes,
                    is_known=known.__contains__,
                )
                assert (image == index).all()
                known.add(index)


@pytest.mark.parametrize("size", [1, 3, 10])
def test_frames_are_read_once_and_in_one_pass(size: int) -> None:
    source = Recording(200)
    order = global_order(200, seed=3)
    play(source, order, size=size, image_bytes=1)
    assert len(source.read) == len(set(source.read))
    # Frames that are pushed before they become global frames are not read.
    turns = {index: max(turn - size + 1, 0) for turn, index in reversed(list(enumerate(order)))}
    assert set(source.read) == {index for index, turn in turns.items() if index > turn}
    backwards = sum(b < a for a, b in zip(source.read, source.read[1:], strict=False))
    assert backwards == 0


def test_large_images_are_read_one_at_a_time() -> None:
    source = Recording(60)
    images = GlobalImages(source, global_order(60, seed=3), size=3)
    first = global_indexes(global_order(60, seed=3), 0, 3)[0]
    images.read(first, step=0, pushed=1, image_bytes=1 << 30, is_known=lambda index: False)
    assert source.read == [first]


def test_a_session_within_a_video_reads_frames_before_its_start_in_the_same_pass() -> None:
    source = Recording(200)
    order = global_order(200, seed=3)
    play(source, order, size=3, image_bytes=1, start=100)
    assert len(source.read) == len(set(source.read))
    assert {index for index in order if index < 100} <= set(source.read)
    assert sum(b < a for a, b in zip(source.read, source.read[1:], strict=False)) == 0
