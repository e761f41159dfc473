"""Pass the results of a session through a linker, in the order of its frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from megavid.core.detections import FrameResult
from megavid.core.errors import InputError
from megavid.linking.linker_config import LinkerConfig
from megavid.linking.linkers import LINKERS


class ResultQueue:
    """Links the results of one session, and then drops detections with scores up to the user's threshold.

    Args:
        linker: Settings of the linker; None to pass results on as they are.
        score_threshold: Linked detections have a score above this; None for all of them.
    """

    def __init__(self, linker: LinkerConfig | None, score_threshold: float | None) -> None:
        self._stage = None if linker is None else linker.start()
        self._score_threshold = score_threshold
        self._places = 0
        self._next = 0

    @property
    def look_ahead(self) -> int | None:
        """Number of frames by which the linker's results come later; None at the end of the video."""
        return 0 if self._stage is None else self._stage.look_ahead

    def reserve(self, *, ended: bool) -> Place:
        """Reserve the place of the next results, which a device may still be computing.

        Args:
            ended: Whether they are the last ones of the video.
        """
        self._places += 1
        return Place(self, self._places - 1, ended)

    def pass_on(self, results: Sequence[FrameResult], place: Place) -> list[FrameResult]:
        """Link the results of a place, and return the results that are ready; see `Place.pass_on`."""
        if self._stage is None:
            return list(results)
        if place.number != self._next:
            raise ValueError("expected to wait for the results of a session once, in the order of submission")
        self._next += 1
        ready = [linked for result in results for linked in self._stage.push(result)]
        linked = [self._above_threshold(result) for result in ready]
        return linked + self.flush() if place.ended else linked

    def flush(self) -> list[FrameResult]:
        """Return the results that the linker still holds, as if the video had ended."""
        ready = [] if self._stage is None else self._stage.flush()
        return [self._above_threshold(result) for result in ready]

    def _above_threshold(self, result: FrameResult) -> FrameResult:
        found = result.detections
        if self._score_threshold is None:
            return result
        return replace(result, detections=found[found.scores > self._score_threshold])


@dataclass(frozen=True, eq=False)
class Place:
    """A place in a queue of results.

    Attributes:
        queue: The queue.
        number: Number of the place.
        ended: Whether the video ends after the results of this place.
    """

    queue: ResultQueue
    number: int
    ended: bool

    def pass_on(self, results: Sequence[FrameResult]) -> list[FrameResult]:
        """Link the results of this place.

        Returns:
            The results that became ready.

        Raises:
            ValueError: There is a linker, and an earlier place has no results yet, or this one has had its.
        """
        return self.queue.pass_on(results, self)


def check_live_linker(linker: LinkerConfig | None) -> None:
    """Check that a linker can be used for a live stream.

    Raises:
        InputError: The linker needs the whole video.
    """
    if linker is not None and linker.start().look_ahead is None:
        others = [name for name, config in LINKERS.items() if config().start().look_ahead is not None]
        advice = f"; for live streams: {', '.join(others)}" if others else ""
        raise InputError(f"link: {linker.name} needs a whole video, got a live stream{advice}")
