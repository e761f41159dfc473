"""Images of a video's global frames, from anywhere in it, without going through the file for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from megavid.core.frames import Frame, FrameSource, Image
from megavid.core.reference_plans import global_indexes

READ_AHEAD = 16
"""Most images that are read before they are needed, if they take no more than `BUDGET`."""

BUDGET = 64 << 20  # bytes


class GlobalImages:
    """Reads the global frames that are to come in one go through the video, in its order.

    To jump to a frame of a video file means to decode all from the last key frame on.

    Args:
        source: The whole video.
        order: Of the global frames (`global_indexes`).
        size: How many there are at a time.
    """

    def __init__(self, source: FrameSource, order: Sequence[int], *, size: int) -> None:
        self._source = source
        self._order = order
        self._size = size
        self._images: dict[int, Image] = {}

    def read(
        self, index: int, *, step: int, pushed: int, image_bytes: int, is_known: Callable[[int], bool]
    ) -> Image:
        """The image of frame `index`, which is needed now.

        Args:
            index: Its number.
            step: How many key frames were before.
            pushed: How many of the video's frames have been seen in order.
            image_bytes: Memory that an image takes.
            is_known: Whether a frame need not be read.
        """
        if index not in self._images:
            room = max(min(READ_AHEAD, BUDGET // image_bytes) - len(self._images), 1)
            others = (i for i in self._to_come(step, pushed) if not (i in self._images or is_known(i)))
            for i in sorted(list(dict.fromkeys((index, *others)))[:room]):
                item: Image | Frame = self._source[i]
                self._images[i] = item.image if isinstance(item, Frame) else item
        return self._images.pop(index)

    def _to_come(self, step: int, pushed: int) -> list[int]:
        """The frames that are needed now and next, but for those that will have passed by until then."""
        place = step + self._size - 1  # of the newest global frame in the endless order
        later = [self._order[(place + lead) % len(self._order)] for lead in range(1, READ_AHEAD)]
        passing = [i for lead, i in enumerate(later, 1) if i >= pushed + lead]
        return global_indexes(self._order, step, self._size) + passing
