"""Read the images of global frames, which may be anywhere in a video, in one pass over its file or few."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from megavid.core.frames import Frame, FrameSource, Image
from megavid.core.reference_plans import GLOBAL_POOL, global_indexes

READ_AHEAD = GLOBAL_POOL
"""Largest number of images that are read before they are needed: one pass, if they fit into `BUDGET`."""

BUDGET = 192 << 20
"""Limit of the memory of images that are read before they are needed, bytes."""


class GlobalImages:
    """Reads global frames, several upcoming ones in each pass over the video.

    Reading one frame of a video file is slow: everything from the codec's last key frame on is decoded.

    Args:
        source: The whole video.
        order: Order of global frames (`global_indexes`).
        size: Number of global frames that are used at a time.
        start: Number of the first frame that will be pushed.
    """

    def __init__(self, source: FrameSource, order: Sequence[int], *, size: int, start: int = 0) -> None:
        self._source = source
        self._order = order
        self._size = size
        self._start = start
        self._images: dict[int, Image] = {}

    def read(
        self, index: int, *, step: int, pushed: int, image_bytes: int, is_known: Callable[[int], bool]
    ) -> Image:
        """Return the image of a frame that is needed now.

        Args:
            index: Frame number.
            step: Number of the key frame that needs it.
            pushed: Number of the first frame that has not been pushed to the session.
            image_bytes: Memory of an image, bytes.
            is_known: Called with a frame number; returns whether the features of that frame are stored, so
                that its image need not be read.
        """
        if index not in self._images:
            room = max(min(READ_AHEAD, BUDGET // image_bytes) - len(self._images), 1)
            others = (i for i in self._upcoming(step, pushed) if not (i in self._images or is_known(i)))
            for i in sorted(list(dict.fromkeys((index, *others)))[:room]):
                item: Image | Frame = self._source[i]
                self._images[i] = item.image if isinstance(item, Frame) else item
        return self._images.pop(index)

    def _upcoming(self, step: int, pushed: int) -> list[int]:
        """Return the global frames needed now or soon, except those that will be pushed before that."""
        newest = step + self._size - 1  # place in the order, which repeats without end
        later = [self._order[(newest + lead) % len(self._order)] for lead in range(1, READ_AHEAD)]
        not_pushed = [i for lead, i in enumerate(later, 1) if i < self._start or i >= pushed + lead]
        return global_indexes(self._order, step, self._size) + not_pushed
