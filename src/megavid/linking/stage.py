"""The interface of result stages: functions from the results of a video to better results."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator

from megavid.core.detections import FrameResult


class Stage(ABC):
    """A result stage for one video, which is given the results of one frame after another.

    The stage holds the state of its video, so another video needs another stage. There is exactly one result
    for each frame, in the same order.
    """

    @property
    @abstractmethod
    def look_ahead(self) -> int | None:
        """Number of frames by which results come later; None if they come at the end of the video."""

    @abstractmethod
    def push(self, result: FrameResult) -> list[FrameResult]:
        """Take the result of the next frame, and return the results that are ready."""

    @abstractmethod
    def flush(self) -> list[FrameResult]:
        """End the video, and return the remaining results."""

    def __call__(self, results: Iterable[FrameResult]) -> Iterator[FrameResult]:
        """Apply the stage to all results of a video."""
        for result in results:
            yield from self.push(result)
        yield from self.flush()
