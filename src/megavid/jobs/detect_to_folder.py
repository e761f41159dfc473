"""Detecting in a video and writing what was found: reading, computing and writing overlap."""

from __future__ import annotations

import itertools
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from megavid.core.detections import FrameResult
from megavid.core.errors import InputError
from megavid.core.files.locks import locked_folder
from megavid.core.frames import Frame
from megavid.core.ranges import MOST_BATCH, check_range, check_seed, check_share
from megavid.jobs.detection_outputs import DetectionOutputs
from megavid.jobs.output_folder import (
    FRAMES,
    VIDEO,
    make_output_folder,
    partial_name,
)
from megavid.jobs.progress import progress
from megavid.jobs.stop_requests import stop_request, uninterrupted
from megavid.jobs.threads.background import InBackground, prefetch, queue_length
from megavid.linking.tracking import Tracker
from megavid.models.base.detector import VideoDetector
from megavid.runtime.detect_video import run_session
from megavid.runtime.session import VideoSession
from megavid.video.reader import ImageFolder, LiveStream, Video, VideoFile
from megavid.video.stride import EveryNth, every_nth

logger = logging.getLogger(__name__)

_LARGEST_STRIDE = 2**31 - 1
"""Frames from one that is looked at to the next: more than a year of video."""


@dataclass(frozen=True, kw_only=True)
class DetectOptions:
    """How to detect in a video and what to write.

    Attributes:
        score_threshold: Lowest score, exclusive, of detections drawn and saved; None for the configured.
        classes: Names of the classes to draw and save; none for all.
        every: Detect in every n-th frame only.
        save_frames: Write annotated frames as images instead of a video.
        batch_size: Frames that go through the network together.
        causal, seed: See `VideoSession`.
        track: Give objects ids from frame to frame, and each of them one class.
    """

    score_threshold: float | None = None
    classes: Sequence[str] = ()
    every: int = 1
    save_frames: bool = False
    batch_size: int = 1
    causal: bool = False
    seed: int = 0
    track: bool = False

    def __post_init__(self) -> None:
        check_range("every", self.every, least=1, most=_LARGEST_STRIDE)
        check_range("batch_size", self.batch_size, least=1, most=MOST_BATCH)
        check_share("score_threshold", self.score_threshold)
        check_seed(self.seed)


@dataclass(frozen=True)
class DetectSummary:
    """What a detection run did.

    Attributes:
        paths: The outputs.
        frames: Frames detected in.
        detections: Boxes found.
        tracks: Tracks found; None where none were asked for.
        complete: Whether the video was done to its end.
    """

    paths: list[Path]
    frames: int
    detections: int
    tracks: int | None
    complete: bool


def detect_to_folder(
    detector: VideoDetector[Any, Any],
    video: Video,
    folder: Path,
    options: DetectOptions,
    *,
    metadata: Mapping[str, Any],
) -> DetectSummary:
    """Detect in a video; write annotated pictures and predictions.

    Ctrl-C and SIGTERM end a live stream in good order. They, and errors, break off a video: what was done
    by then is kept under names with "partial" in them.

    Args:
        detector: What `load_detector` gives.
        video: What `open_input` gives.
        folder: Where `annotated.mp4` (or `frames/`), `predictions.parquet` and, with `track`,
            `tracks.parquet` are put.
        metadata: More for the predictions file to say of the run, as JSON values.

    Raises:
        InputError: An option doesn't fit, the video turns out to be broken, or outputs cannot be written.
    """
    wanted = _labels(options.classes, detector.class_names)
    _spare_input(video, folder, save_frames=options.save_frames)
    whole = None if isinstance(video, LiveStream) else EveryNth(video, options.every)
    session = VideoSession(
        detector,
        source=whole,
        causal=options.causal,
        seed=options.seed,
        score_threshold=options.score_threshold,
    )
    about = {**detector.description(), **metadata}
    tracker = Tracker(float(video.rate / options.every)) if options.track else None
    files = _image_files(video)
    images = _image_names(files)

    def write(frame: Frame, result: FrameResult) -> None:
        index = result.index * options.every
        name, file = (images[index], files[index]) if files else (f"{index:06d}", None)
        result = _only(replace(result, index=index), wanted)
        if tracker is not None:
            result = replace(result, detections=tracker.update(result.detections.cpu()))
        outputs.write(frame.image, result, name=name, file=file)

    make_output_folder(folder)
    with locked_folder(folder), stop_request() as stop:
        outputs = _open_outputs(folder, video, options, about)
        frames = _until(stop, every_nth(video, options.every))
        total = None if whole is None else len(whole)
        try:
            complete = _detect_all(
                session, frames, write, stop, video=video, total=total, batch=options.batch_size
            )
        except BaseException:
            _keep_partial(outputs)
            raise
        with uninterrupted():
            paths = outputs.finish(complete=complete)
    if isinstance(video, VideoFile) and video.lost:
        logger.warning("%s: %d frames are lost: the file is broken there", video.path, video.lost)
    return DetectSummary(paths, outputs.frames, outputs.detections, outputs.tracks, complete)


def _open_outputs(
    folder: Path,
    video: Video,
    options: DetectOptions,
    metadata: Mapping[str, Any],
) -> DetectionOutputs:
    return DetectionOutputs(
        folder,
        video=video.name,
        rate=video.rate / options.every,
        width=video.width,
        height=video.height,
        pixel_aspect=video.pixel_aspect,
        save_frames=options.save_frames,
        track=options.track,
        metadata={"every": options.every, **metadata},
    )


class _StoppedError(Exception):
    """The user asked to stop."""


def _until(stop: threading.Event, frames: Iterable[Frame]) -> Iterator[Frame]:
    return itertools.takewhile(lambda _: not stop.is_set(), frames)


def _detect_all(
    session: VideoSession[Any, Any],
    frames: Iterable[Frame],
    write: Callable[[Frame, FrameResult], None],
    stop: threading.Event,
    *,
    video: Video,
    total: int | None,
    batch: int,
) -> bool:
    """Every frame through the session and, with its result, to `write`; whether that was all of them.

    A live stream has no `total`: being stopped is how it ends.
    """
    waiting: deque[Frame] = deque()
    queue = queue_length(video.width, video.height)

    def read() -> Iterator[Frame]:
        with closing(prefetch(frames, ahead=queue)) as ahead:
            for frame in _until(stop, ahead):
                waiting.append(frame)
                yield frame
        if stop.is_set() and total is not None:
            raise _StoppedError

    with InBackground(behind=queue) as background, progress(video.name, total=total) as meter:
        try:
            for result in run_session(session, read(), batch_size=batch):
                background.submit(write, waiting.popleft(), result)
                meter.advance()
        except _StoppedError:
            return False
    return True


def _keep_partial(outputs: DetectionOutputs) -> None:
    try:
        with uninterrupted():
            kept = outputs.finish(complete=False)
    except InputError as error:  # of less interest than what went wrong before
        logger.warning("not all that was done could be kept: %s", error)
    else:
        if kept:
            logger.warning("%d frames done so far are kept: %s", outputs.frames, ", ".join(map(str, kept)))


def _spare_input(video: Video, folder: Path, *, save_frames: bool) -> None:
    """That no output takes the place of what is read."""
    read: set[Path] = set()
    if isinstance(video, ImageFolder):
        read = {path.parent for path in video.paths}
    elif not isinstance(video, LiveStream):
        read = {video.path}
    name = FRAMES if save_frames else VIDEO
    for target in (folder / name, folder / partial_name(name)):
        for path in read:
            real = Path(os.path.realpath(path))  # also of links that go round
            if Path(os.path.realpath(target)) in (real, *real.parents):
                raise InputError(f"{target}: holds what is to be detected in; choose another output folder")


def _image_files(video: Video) -> list[str]:
    """The image files of a folder, as seen from the folder that holds them all; none for a video."""
    if not isinstance(video, ImageFolder):
        return []
    parent = os.path.commonpath([path.parent for path in video.paths])
    return [os.path.relpath(path, parent) for path in video.paths]


def _image_names(files: Sequence[str]) -> list[str]:
    """A name for each annotated image: the original's, with its number where that is not enough."""
    stems = [Path(file).stem for file in files]
    if len(set(stems)) == len(stems):
        return stems
    return [f"{index:06d}_{stem}" for index, stem in enumerate(stems)]


def _labels(classes: Sequence[str], class_names: tuple[str, ...]) -> Tensor | None:
    """The labels of class names; None for all classes."""
    for name in classes:
        if name not in class_names:
            raise InputError(f"classes: {name!r} is not one of the detector's: {', '.join(class_names)}")
    return torch.tensor([class_names.index(name) for name in classes]) if classes else None


def _only(result: FrameResult, labels: Tensor | None) -> FrameResult:
    if labels is None:
        return result
    found = result.detections
    return FrameResult(result.index, result.time, found[torch.isin(found.labels, labels)])
