"""Several sessions of one detector whose frames share batches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic

from megavid.core.detections import FrameResult
from megavid.core.frames import Frame, Image
from megavid.core.ranges import MOST_BATCH, check_range
from megavid.models.base.features import FeaturesT
from megavid.models.base.requests import MemoryT
from megavid.models.base.video_detector import VideoDetector
from megavid.runtime.batch_runner import BatchRunner, PendingBatch
from megavid.runtime.result_queue import Place
from megavid.runtime.session import VideoSession
from megavid.runtime.video_state import Step


@dataclass(frozen=True, eq=False)
class PendingGroupResults(Generic[FeaturesT, MemoryT]):
    """Results of several sessions that a GPU may still be computing.

    Attributes:
        batch: The results.
        sessions: The session of each list of results.
        places: Place of each list among all results of its session.
    """

    batch: PendingBatch
    sessions: Sequence[VideoSession[FeaturesT, MemoryT]]
    places: Sequence[Place]

    def wait(self) -> list[tuple[VideoSession[FeaturesT, MemoryT], FrameResult]]:
        """Wait until the results are computed, link them, and return those ready, each with its session.

        Raises:
            ValueError: As in `PendingResults.wait`.
        """
        videos = zip(self.sessions, self.places, self.batch.wait(), strict=True)
        return [(session, result) for session, place, results in videos for result in place.pass_on(results)]


class SessionGroup(Generic[FeaturesT, MemoryT]):
    """Sessions of one detector whose frames go through the network together.

    On a GPU, several streams in one group are much faster than one after the other. Each session gets the
    results that it would have alone, up to rounding. Any session of the detector can be pushed to at any
    time: a group keeps no list of them, so streams may have different speeds and begin and end when they
    like. Frames of different sizes go through the network one after the other. A group is for one thread.

    The latency of a stream is bounded: a frame that arrives during a push waits for its end and is in the
    next push, so its result (or, with look-ahead, that of an earlier frame) comes after at most two pushes.
    A push with one frame of each session takes one batch for every `batch_size` sessions of a frame size. On
    a GPU, a batch that is not full takes as long as a full one.

    Args:
        detector: Detector, as `load_detector` returns it.
        batch_size: Number of frames that go through the network together, preferably the number of sessions.

    Examples:
        >>> group = SessionGroup(detector, batch_size=2)
        >>> left, right = VideoSession(detector), VideoSession(detector)
        >>> for frames in zip(left_camera, right_camera):
        ...     for session, result in group.push(zip((left, right), frames)):
        ...         print("left" if session is left else "right", len(result.detections))
        >>> rest = group.flush([left, right])
    """

    def __init__(self, detector: VideoDetector[FeaturesT, MemoryT], *, batch_size: int = 8) -> None:
        check_range("batch_size", batch_size, least=1, most=MOST_BATCH)
        self._detector = detector
        self._batch_size = batch_size
        self._runner = BatchRunner(detector)

    def push(
        self, frames: Iterable[tuple[VideoSession[FeaturesT, MemoryT], Image | Frame]]
    ) -> list[tuple[VideoSession[FeaturesT, MemoryT], FrameResult]]:
        """Push the next frames of some sessions.

        Args:
            frames: Frames as for `VideoSession.push`, each with its session. A session may have several
                frames, in order, or none.

        Returns:
            The results that became ready, each with its session: session by session, those of a session in
            frame order.

        Raises:
            InputError: As in `VideoSession.push`; in that case, none of the frames was pushed.
            ValueError: A session has another detector, or was flushed.
        """
        return self.submit(frames).wait()

    def submit(
        self, frames: Iterable[tuple[VideoSession[FeaturesT, MemoryT], Image | Frame]]
    ) -> PendingGroupResults[FeaturesT, MemoryT]:
        """Push frames like `push`, but do not wait for a GPU to compute the results.

        The next frames can be pushed before the results are waited for. The frames' arrays may be reused as
        soon as this returns.
        """
        pushed: dict[VideoSession[FeaturesT, MemoryT], list[Image | Frame]] = {}
        for session, frame in frames:
            pushed.setdefault(session, []).append(frame)
        return self._submit([(session, batch, False) for session, batch in pushed.items()])

    def flush(
        self, sessions: Iterable[VideoSession[FeaturesT, MemoryT]]
    ) -> list[tuple[VideoSession[FeaturesT, MemoryT], FrameResult]]:
        """End the videos of some sessions, and return their remaining results, each with its session."""
        return self._submit([(session, [], True) for session in dict.fromkeys(sessions)]).wait()

    def _submit(
        self, work: Sequence[tuple[VideoSession[FeaturesT, MemoryT], Sequence[Image | Frame], bool]]
    ) -> PendingGroupResults[FeaturesT, MemoryT]:
        """Push frames to sessions, and end the videos of those sessions for which the work says so."""
        if any(session.detector is not self._detector for session, _, _ in work):
            raise ValueError("expected sessions of the group's detector, got a session of another one")
        steps: list[Step[FeaturesT]] = [
            session.state.plan(images, ended=ended) for session, images, ended in work
        ]
        states = [session.state for session, _, _ in work]
        batch = self._runner.submit(list(zip(states, steps, strict=True)), batch_size=self._batch_size)
        places = [session.queue.reserve(ended=ended) for session, _, ended in work]
        return PendingGroupResults(batch, [session for session, _, _ in work], places)
