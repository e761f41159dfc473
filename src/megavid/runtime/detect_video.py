"""Detect in a whole video with one call."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import cast

import numpy as np

from megavid.core.detections import FrameResult
from megavid.core.errors import InputError
from megavid.core.frames import Frame, FrameSource, Image
from megavid.core.ranges import MOST_BATCH, check_range
from megavid.linking.linker_config import LinkerConfig
from megavid.linking.linkers import as_linker
from megavid.models.base.video_detector import VideoDetector
from megavid.runtime.prefetch import prefetch, queue_length
from megavid.runtime.result_queue import check_live_linker
from megavid.runtime.session import PendingResults, VideoSession
from megavid.video.every_nth import EveryNth
from megavid.video.open_input import Video, VideoFile, is_live, open_input


def detect_video(
    detector: VideoDetector,
    video: str | os.PathLike[str] | FrameSource | Iterable[Image | Frame],
    *,
    score_threshold: float | None = None,
    causal: bool = False,
    global_order: Sequence[int] | None = None,
    seed: int = 0,
    official_quirks: bool = False,
    batch_size: int = 1,
    fps: float | None = None,
    link: LinkerConfig | str | None = None,
) -> Iterator[FrameResult]:
    """Detect in every frame of a video; yield results in frame order, as they become ready.

    The frames of a file or folder are read ahead on another thread. The results of a whole video come one
    batch late, so that a GPU can compute the next batch while the caller uses them.

    Args:
        detector: Detector, as `load_detector` returns it.
        video: A video file, image folder, glob pattern, camera index or stream address; or RGB uint8 (H, W,
            3) arrays. If the video has a length and can be indexed, global frames come from all of it; for an
            iterator, a camera or a stream, they come from the frames so far. An iterator may reuse one array
            for all frames.
        batch_size: Number of frames that go through the network together.
        fps: Frames per second of image files and arrays, which carry no times; 25 by default.
        score_threshold: Detections have a score above this; see `VideoSession` for this and all arguments
            below.
        causal: Detect without look-ahead.
        global_order: Frame numbers in the order in which they become global frames.
        seed: Seed for the choice of global frames.
        official_quirks: Reproduce the original release's defect at the start of a video.
        link: Linker of the results. One that needs the whole video gives them at its end, or before an error.

    Raises:
        InputError: The video cannot be read or is not for the detector, an argument is out of range, or the
            linker is unknown or not for live streams.

    Examples:
        >>> for result in detect_video(detector, "clip.mp4", score_threshold=0.5):
        ...     print(result.index, result.time, result.detections.boxes)
    """
    check_range("batch_size", batch_size, least=1, most=MOST_BATCH)
    opened = _open(detector, video, fps=fps, link=link) if isinstance(video, str | os.PathLike) else None
    frames = opened or cast("FrameSource | Iterable[Image | Frame]", video)
    whole = _as_source(frames)
    if whole is not None:
        detector.check_video(whole)
    session = VideoSession(
        detector,
        source=None if whole is None else _tolerant(whole),
        causal=causal,
        global_order=global_order,
        seed=seed,
        score_threshold=score_threshold,
        official_quirks=official_quirks,
        fps=fps,
        link=link,
    )
    return _results(session, frames, opened, batch_size=batch_size)


def _open(
    detector: VideoDetector,
    path: str | os.PathLike[str],
    *,
    fps: float | None,
    link: LinkerConfig | str | None,
) -> Video:
    """Check that detector and linker can be used for the video if it is a live stream, and open it."""
    if is_live(path):
        detector.check_video(None)
        check_live_linker(as_linker(link))
    return open_input(path, fps=fps)


def _as_source(frames: object) -> FrameSource | None:
    """Return frames that have a length and can be indexed; None for others that can only be iterated over."""
    if hasattr(frames, "__len__") and hasattr(frames, "__getitem__"):
        return cast(FrameSource, frames)
    if not isinstance(frames, Iterable):
        raise InputError(f"video: expected a path or RGB frames, got {type(frames).__name__}")
    return None


def _results(
    session: VideoSession,
    frames: FrameSource | Iterable[Image | Frame],
    opened: Video | None,
    *,
    batch_size: int,
) -> Iterator[FrameResult]:
    with ExitStack() as stack:
        # `Iterable` excludes sources that have only `__getitem__` and `__len__`.
        in_order = frames if isinstance(frames, Iterable) else (frames[i] for i in range(len(frames)))
        if opened is not None:
            stack.enter_context(opened)
            length = queue_length(opened.width, opened.height)
            in_order = stack.enter_context(closing(prefetch(in_order, ahead=length)))
        elif batch_size > 1:
            in_order = map(_copy, in_order)
        yield from run_session(session, in_order, batch_size=batch_size)


def run_session(
    session: VideoSession, frames: Iterable[Image | Frame], *, batch_size: int, last: int | None = None
) -> Iterator[FrameResult]:
    """Push frames to a new session, `batch_size` at a time, and yield all results.

    A batch of a whole video begins with a frame whose number in the session's source is a multiple of
    `batch_size`, so lost frames and the session's start do not change what is in later batches. The results
    of a batch are yielded when the next one has been pushed, so that a GPU always has work. The results of a
    stream are yielded as early as possible.

    If a frame cannot be read, the results of the frames before it are linked and yielded, and then the error
    is raised.

    Args:
        session: A new session.
        frames: Frames of the video, from the session's start on.
        batch_size: Number of frames that go through the network together.
        last: One more than the number in the source of the last frame whose result is wanted. No more
            batches are read than it needs, which may give results of a few frames after it. None for the
            whole video.
    """
    waiting: deque[PendingResults] = deque()
    ahead = 1 if session.state.has_source else 0
    try:
        for batch in _batches(session, frames, batch_size):
            waiting.append(session.submit(batch))
            if len(waiting) > ahead:
                yield from waiting.popleft().wait()
            if last is not None and session.state.newest_key >= last - 1:
                break
        else:
            waiting.append(session.submit_end())
    except Exception:  # An error comes after the results of the frames before it.
        for pending in waiting:
            yield from pending.wait()
        yield from session.queue.flush()
        raise
    for pending in waiting:
        yield from pending.wait()


def _batches(
    session: VideoSession, frames: Iterable[Image | Frame], batch_size: int
) -> Iterator[list[Image | Frame]]:
    batch: list[Image | Frame] = []
    number = session.start - 1  # of the newest frame; frames of a stream are numbered as they come
    for frame in frames:
        before, number = number, number + 1
        if isinstance(frame, Frame) and session.state.has_source:
            number = frame.index // session.every
        if batch and number // batch_size != before // batch_size:
            yield batch
            batch = []
        batch.append(frame)
        if number % batch_size == batch_size - 1:
            yield batch
            batch = []
    if batch:
        yield batch


def _tolerant(source: FrameSource) -> FrameSource:
    """Wrap a video file so that the nearest frame takes the place of a damaged one."""
    return EveryNth(source, 1) if isinstance(source, VideoFile) else source


def _copy(item: Image | Frame) -> Image | Frame:
    """Copy a frame, so that it keeps its content when its array is reused."""
    if isinstance(item, Frame):
        return replace(item, image=np.array(item.image))
    return np.array(item)
