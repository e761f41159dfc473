"""Detecting in a whole video with one call."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, cast

import numpy as np

from megavid.core.detections import FrameResult
from megavid.core.errors import InputError
from megavid.core.frames import Frame, FrameSource, Image
from megavid.core.ranges import MOST_BATCH, check_range
from megavid.models.base.detector import VideoDetector
from megavid.runtime.session import VideoSession
from megavid.video.every_nth import EveryNth
from megavid.video.open_input import Video, VideoFile, open_input


def detect_video(
    detector: VideoDetector[Any, Any],
    video: str | os.PathLike[str] | FrameSource | Iterable[Image | Frame],
    *,
    score_threshold: float | None = None,
    causal: bool = False,
    global_order: Sequence[int] | None = None,
    seed: int = 0,
    official_quirks: bool = False,
    batch_size: int = 1,
    fps: float | None = None,
) -> Iterator[FrameResult]:
    """The detections of every frame of a video, in frame order, as they become ready.

    Args:
        detector: What `load_detector` gives.
        video: A video file, image folder, glob pattern, camera index or stream address; or RGB uint8
            (H, W, 3) arrays. What has a length and can be indexed is seen as a whole: global frames
            come from all of it. An iterator, a camera or a stream is taken as it comes; an iterator may fill
            one array again and again.
        batch_size: Frames that go through the network together.
        fps: Frames a second, where the frames come without times: images and arrays, 25 by default.
        score_threshold: See `VideoSession`, and for all of the following.
        causal: No look-ahead.
        global_order: Which frames are global ones.
        seed: Of their choice.
        official_quirks: As the original release does it.

    Raises:
        InputError: The video cannot be read, or an option doesn't fit.

    Examples:
        >>> for result in detect_video(detector, "clip.mp4", score_threshold=0.5):
        ...     print(result.index, result.time, result.detections.boxes)
    """
    check_range("batch_size", batch_size, least=1, most=MOST_BATCH)
    opened = open_input(video, fps=fps) if isinstance(video, str | os.PathLike) else None
    frames = opened or cast("FrameSource | Iterable[Image | Frame]", video)
    is_whole = hasattr(frames, "__len__") and hasattr(frames, "__getitem__")
    if not is_whole and not isinstance(frames, Iterable):
        raise InputError(f"video: expected a path or RGB frames, got {type(video).__name__}")
    session = VideoSession(
        detector,
        source=_tolerant(cast(FrameSource, frames)) if is_whole else None,
        causal=causal,
        global_order=global_order,
        seed=seed,
        score_threshold=score_threshold,
        official_quirks=official_quirks,
        fps=fps,
    )
    return _results(session, frames, opened, batch_size=batch_size)


def _results(
    session: VideoSession[Any, Any],
    frames: FrameSource | Iterable[Image | Frame],
    opened: Video | None,
    *,
    batch_size: int,
) -> Iterator[FrameResult]:
    with opened or nullcontext():
        # A list of arrays is iterated, something that can only be indexed is indexed.
        in_order = frames if isinstance(frames, Iterable) else (frames[i] for i in range(len(frames)))
        if opened is None and batch_size > 1:
            in_order = map(_copy, in_order)
        yield from run_session(session, in_order, batch_size=batch_size)


def run_session(
    session: VideoSession[Any, Any], frames: Iterable[Image | Frame], *, batch_size: int
) -> Iterator[FrameResult]:
    """All results of a new session, `batch_size` frames at a time."""
    batch: list[Image | Frame] = []
    for frame in frames:
        batch.append(frame)
        if len(batch) == batch_size:
            yield from session.push_batch(batch)
            batch = []
    yield from session.push_batch(batch)
    yield from session.flush()


def _tolerant(source: FrameSource) -> FrameSource:
    """Wrap a video file so that the nearest frame takes the place of a damaged one."""
    return EveryNth(source, 1) if isinstance(source, VideoFile) else source


def _copy(item: Image | Frame) -> Image | Frame:
    """A frame that stays as it is when the array that it came in is filled again."""
    if isinstance(item, Frame):
        return replace(item, image=np.array(item.image))
    return np.array(item)
