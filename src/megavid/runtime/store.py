"""A bounded store of encoded frames."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic

from megavid.models.base.features import FeaturesT


class FrameStore(Generic[FeaturesT]):
    """Encoded frames by number; the least recently used ones are dropped when a byte budget is exceeded.

    Args:
        budget: Limit of the memory of all tensors, bytes.
    """

    def __init__(self, *, budget: int) -> None:
        self._budget = budget
        self._used = 0
        self._frames: OrderedDict[int, FeaturesT] = OrderedDict()

    def __contains__(self, index: int) -> bool:
        return index in self._frames

    def get(self, index: int) -> FeaturesT | None:
        """Return a frame's features, or None if they were never stored or have been dropped."""
        if index not in self._frames:
            return None
        self._frames.move_to_end(index)
        return self._frames[index]

    def put(self, index: int, features: FeaturesT) -> None:
        """Store a frame that is not stored yet."""
        assert index not in self._frames, index
        self._frames[index] = features
        self._used += features.nbytes
        while self._used > self._budget:
            _, dropped = self._frames.popitem(last=False)
            self._used -= dropped.nbytes
