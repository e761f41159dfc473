"""Detect in a part of a video as in the whole one."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from megavid.core.detections import FrameResult
from megavid.core.frames import Frame, FrameSource, Image
from megavid.core.ranges import MOST_BATCH, MOST_STRIDE, check_range
from megavid.core.reference_plans import ReferencePlan
from megavid.models.base.video_detector import VideoDetector
from megavid.runtime.detect_video import run_session
from megavid.runtime.prefetch import prefetch, queue_length
from megavid.runtime.session import VideoSession
from megavid.runtime.warm_up import warm_up_frames
from megavid.video.every_nth import EveryNth
from megavid.video.open_input import ImageFolder, ImagePages, VideoFile


def detect_segment(
    detector: VideoDetector,
    video: FrameSource,
    first: int,
    last: int | None = None,
    *,
    every: int = 1,
    score_threshold: float | None = None,
    causal: bool = False,
    seed: int = 0,
    batch_size: int = 1,
) -> Iterator[FrameResult]:
    """Detect in key frames `first` to `last - 1` of a video; yield their results in frame order.

    On a CPU, the results equal those of a run over the whole video to the last bit, whatever the segment, if
    both run with the same options on the same kind of processor with the same number of threads. On a GPU,
    they equal those as two runs over the whole video do. The frames that are read are those of the segment,
    the frames before it on which its first result depends (`warm_up_frames`), the rest of their batches, the
    look-ahead of the last result, and the global frames, which come from the whole video.

    Lost frames of a file have no results. The numbers of the others, their global frames and their batches
    are those that they would have without the loss, so a segment need not know what was lost before it.
    Frames that were lost just before a segment are made up for by earlier ones.

    Args:
        detector: Detector, as `load_detector` returns it.
        video: The whole video: a video file, a folder of images or a file of pictures from `open_input`, or
            RGB uint8 (H, W, 3) arrays. It stays open.
        first: Number of the first key frame; key frame k is frame k * every of the video.
        last: One more than the number of the last key frame; None for the rest of the video.
        every: Distance from one key frame to the next in the video.
        score_threshold: Detections have a score above this; None for the configured threshold.
        causal: Detect without look-ahead.
        seed: Seed for the choice of global frames.
        batch_size: Number of frames that go through the network together.

    Raises:
        InputError: An argument is out of range, a frame cannot be read, the detector is for other videos, or
            it has a memory and its plan does not say how far it reaches.
    """
    check_range("batch_size", batch_size, least=1, most=MOST_BATCH)
    check_range("every", every, least=1, most=MOST_STRIDE)
    detector.check_video(video)
    source = EveryNth(video, every)
    check_range("first", first, least=0, most=len(source) - 1)
    end = len(source) if last is None else last
    check_range("last", end, least=first + 1, most=len(source))
    options = {"source": source, "every": every, "score_threshold": score_threshold}
    options |= {"causal": causal, "seed": seed}
    segment = _Segment(detector, video, range(first, end), batch_size, options)
    segment.open_session(segment.warm_up)  # so that a wrong argument is found now
    return segment.results()


class _LostFramesError(Exception):
    """So many frames before a segment were lost that its session has to start earlier."""


@dataclass(frozen=True)
class _Segment:
    """A segment of a video.

    Attributes:
        detector: The detector.
        video: The whole video.
        keys: Numbers of the segment's key frames.
        batch_size: Number of frames that go through the network together.
        options: Options of the session.
    """

    detector: VideoDetector
    video: FrameSource
    keys: range
    batch_size: int
    options: Mapping[str, Any]

    @property
    def plan(self) -> ReferencePlan:
        return self.detector.plan.causal() if self.options["causal"] else self.detector.plan

    @property
    def warm_up(self) -> int:
        return warm_up_frames(self.detector, self.plan)

    def open_session(self, before: int) -> VideoSession:
        """Open a session that starts at least `before` frames before the segment."""
        start = _start(self.plan, self.keys.start, before=before, batch_size=self.batch_size)
        return VideoSession(self.detector, start=start, **self.options)

    def results(self) -> Iterator[FrameResult]:
        """Yield the results; if frames before the segment were lost, begin again with earlier ones."""
        session = self.open_session(self.warm_up)
        while True:
            try:
                yield from self._results(session)
                return
            except _LostFramesError:  # raised before the first result
                session = self.open_session(2 * (self.keys.start - session.start))

    def _results(self, session: VideoSession) -> Iterator[FrameResult]:
        first, last = self.keys.start, self.keys.stop
        with closing(_read(self.video, session)) as frames:
            enough = _with_enough_before(first, frames, session)
            for result in run_session(session, enough, batch_size=self.batch_size, last=last):
                if result.index // session.every in self.keys:
                    yield result


def _start(plan: ReferencePlan, first: int, *, before: int, batch_size: int) -> int:
    """Return the number of the first frame to read, a multiple of the batch size.

    The session runs as many key frames together with key frame `first` as that of a whole video. Since a
    batch that ends before frame n completes all key frames before n - future, those begin at a multiple of
    the batch size minus `future`.
    """
    together = (first + plan.future) // batch_size * batch_size - plan.future
    start = max(0, min(first - before, together - plan.past))
    return start // batch_size * batch_size


def _read(video: FrameSource, session: VideoSession) -> Generator[Image | Frame]:
    """Read the frames from the session's start on; those of a file on another thread."""
    every, start = session.every, session.start * session.every
    if isinstance(video, VideoFile | ImageFolder | ImagePages):
        return prefetch(video.every(every, start=start), ahead=queue_length(video.width, video.height))
    return (video[index] for index in range(start, len(video), every))


def _with_enough_before(
    first: int, frames: Iterable[Image | Frame], session: VideoSession
) -> Iterator[Image | Frame]:
    """Yield frames; raise `_LostFramesError` if the frames before `first` are fewer than the warm-up."""
    for place, frame in enumerate(frames):
        number = frame.index // session.every if isinstance(frame, Frame) else session.start + place
        if place < session.warm_up and number >= first:
            raise _LostFramesError
        yield frame
