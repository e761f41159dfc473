"""Read the images of global frames, which may be anywhere in a video, in few passes over its file."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from megavid.core.frames import Frame, FrameSource, Image
from megavid.core.reference_plans import global_indexes

READ_AHEAD = 16
"""Limit of images that are read before they are needed."""

BUDGET = 64 << 20
"""Limit of their memory, bytes."""


class GlobalImages:
    """Reader of global frames that reads several upcoming ones in one pass over the video.

    Jumping to a frame of a video file means decoding everything from the last key frame of its codec on.

    Args:
        source: The whole video.
        order: Order of global frames (`global_indexes`).
        size: Number of global frames at a time.
    """

    def __init__(self, source: FrameSource, order: Sequence[int], *, size: int) -> None:
        self._source = source
        self._order = order
        self._size = size
        self._images: dict[int, Image] = {}

    def read(
        self, index: int, *, step: int, pushed: int, image_bytes: int, is_known: Callable[[int], bool]
    ) -> Image:
        """Return the image of a frame that is needed now.

        Args:
            index: Frame number.
            step: Number of key frames so far.
            pushed: Number of frames of the video that were pushed in order.
            image_bytes: Memory of an image.
            is_known: Whether a frame need not be read.
        """
        if index not in self._images:
            room = max(min(READ_AHEAD, BUDGET // image_bytes) - len(self._images), 1)
            others = (i for i in self._upcoming(step, pushed) if not (i in self._images or is_known(i)))
            for i in sorted(list(dict.fromkeys((index, *others)))[:room]):
                item: Image | Frame = self._source[i]
                self._images[i] = item.image if isinstance(item, Frame) else item
        return self._images.pop(index)

    def _upcoming(self, step: int, pushed: int) -> list[int]:
        """Return the global frames needed now and next, except those that will have been pushed by then."""
        newest = step + self._size - 1  # place in the endless order
        later = [self._order[(newest + lead) % len(self._order)] for lead in range(1, READ_AHEAD)]
        not_pushed = [i for lead, i in enumerate(later, 1) if i >= pushed + lead]
        return global_indexes(self._order, step, self._size) + not_pushed
