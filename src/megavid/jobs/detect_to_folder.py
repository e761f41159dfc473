"""Detect in a video and write the results to a folder, while other threads read and write frames."""

from __future__ import annotations

import itertools
import logging
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from megavid.core.detections import FrameResult
from megavid.core.errors import InputError
from megavid.core.files.locks import locked_folder
from megavid.core.frames import Frame
from megavid.core.ranges import MOST_BATCH, MOST_STRIDE, check_range, check_seed, check_share
from megavid.jobs.detection_outputs import DetectionOutputs
from megavid.jobs.image_names import image_files, image_stems
from megavid.jobs.output_folder import check_input_is_kept, make_output_folder
from megavid.jobs.progress import progress
from megavid.jobs.stop_requests import StoppedError, stop_request, uninterrupted
from megavid.jobs.threads.background import InBackground
from megavid.linking.linker_config import LinkerConfig
from megavid.linking.tracking import Tracker
from megavid.models.base.video_detector import VideoDetector
from megavid.runtime.detect_video import run_session
from megavid.runtime.prefetch import prefetch, queue_length
from megavid.runtime.result_queue import check_live_linker
from megavid.runtime.session import VideoSession
from megavid.video.every_nth import EveryNth
from megavid.video.open_input import LiveStream, Video, VideoFile

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class DetectOptions:
    """Options for detecting in a video.

    Attributes:
        score_threshold: Detections with a score above this are drawn and saved; None for the configured
            threshold.
        classes: Names of the classes to draw and save; empty for all classes.
        every: Distance from one detected frame to the next: 1 for every frame.
        save_frames: Whether to write annotated frames as images instead of a video.
        batch_size: Number of frames that go through the network together.
        causal: See `VideoSession`.
        seed: See `VideoSession`.
        track: Whether to track objects, and to give each track one class.
        link: Linker of the results, before the score threshold and the classes are applied; None for none.
    """

    score_threshold: float | None = None
    classes: Sequence[str] = ()
    every: int = 1
    save_frames: bool = False
    batch_size: int = 1
    causal: bool = False
    seed: int = 0
    track: bool = False
    link: LinkerConfig | None = None

    def __post_init__(self) -> None:
        if self.track and self.link is not None:
            raise InputError(f"track: expected tracking or a linker, got both; {self.link.name} gives tracks")
        check_range("every", self.every, least=1, most=MOST_STRIDE)
        check_range("batch_size", self.batch_size, least=1, most=MOST_BATCH)
        check_share("score_threshold", self.score_threshold)
        check_seed(self.seed)


@dataclass(frozen=True)
class DetectSummary:
    """Summary of a detection run.

    Attributes:
        paths: Files and folders that were written.
        frames: Number of frames that went through the detector.
        detections: Number of detections.
        tracks: Number of tracks; None if objects were neither tracked nor linked.
        complete: Whether the video was processed to its end.
    """

    paths: list[Path]
    frames: int
    detections: int
    tracks: int | None
    complete: bool


def detect_to_folder(
    detector: VideoDetector,
    video: Video,
    folder: Path,
    options: DetectOptions,
    *,
    metadata: Mapping[str, Any],
) -> DetectSummary:
    """Detect in a video; write annotated pictures and predictions.

    Ctrl-C or SIGTERM is the regular end of a live stream, but interrupts any other video. After an
    interruption or an error, the results up to then are kept under names that contain "partial". With a
    linker that needs the whole video, the video is read twice, to detect and then to draw.

    Args:
        detector: A detector from `load_detector`.
        video: A video from `open_input`.
        folder: Output folder for `annotated.mp4` (or `frames/`), `predictions.parquet` and, with `track` or
            `link`, `tracks.parquet`.
        options: How to detect and what to write.
        metadata: Additional metadata of the predictions file, as JSON values.

    Raises:
        InputError: An option is invalid, the video is broken, an output cannot be written, or the video is a
            live stream and the linker needs a whole one, or the detector is for other videos.
    """
    detector.check_video(None if isinstance(video, LiveStream) else video)
    if isinstance(video, LiveStream):
        check_live_linker(options.link)
    labels = _labels_of(options.classes, detector.class_names)
    check_input_is_kept(video, folder, save_frames=options.save_frames)
    whole = None if isinstance(video, LiveStream) else EveryNth(video, options.every)
    session = VideoSession(
        detector,
        source=whole,
        causal=options.causal,
        seed=options.seed,
        score_threshold=options.score_threshold,
        link=options.link,
        every=options.every,
    )
    tracker = Tracker(float(video.rate / options.every)) if options.track else None
    make_output_folder(folder)
    with locked_folder(folder), stop_request() as stop:
        outputs = _open_outputs(folder, video, options, {**detector.description(), **metadata})
        sink = _Sink(outputs, image_files(video), labels, tracker)
        job = _Job(session, video, options, total=None if whole is None else len(whole))
        try:
            complete = job.run(sink, stop)
        except BaseException:
            _keep_partial(outputs)
            raise
        with uninterrupted():
            paths = outputs.finish(complete=complete)
    if isinstance(video, VideoFile) and video.lost:
        logger.warning("%s: %d frames are lost: the file is broken there", video.path, video.lost)
    return DetectSummary(paths, outputs.frames, outputs.detections, outputs.tracks, complete)


@dataclass(frozen=True)
class _Job:
    """Detection in a video.

    Attributes:
        session: A new session of the video.
        video: The video.
        options: How to detect.
        total: Number of frames to detect in; None for a live stream, whose regular end is a stop request.
    """

    session: VideoSession
    video: Video
    options: DetectOptions
    total: int | None

    def run(self, sink: _Sink, stop: threading.Event) -> bool:
        """Pass each frame and its result to a sink on other threads; return False if stopped early."""
        queue = queue_length(self.video.width, self.video.height)
        with (
            InBackground(behind=queue) as writing,
            InBackground(behind=queue) as drawing,
            closing(self._results(stop)) as pairs,
        ):
            try:
                for frame, result in pairs:
                    drawing.submit(sink.draw, frame, result, writing)
            except StoppedError:
                return False
        return True

    def _results(self, stop: threading.Event) -> Generator[tuple[Frame, FrameResult]]:
        """Yield each frame with its result, as soon as it is known."""
        if self.session.look_ahead is None:  # too many frames would wait in memory for their results
            return self._detect_first(stop)
        return self._detect(stop)

    def _detect(self, stop: threading.Event) -> Generator[tuple[Frame, FrameResult]]:
        """Detect, and yield each frame with its result; frames wait for their results in memory."""
        waiting: deque[Frame] = deque()

        def read() -> Iterator[Frame]:
            for frame in self._read(stop):
                waiting.append(frame)
                yield frame

        with progress(self.video.name, total=self.total) as meter:
            for result in run_session(self.session, read(), batch_size=self.options.batch_size):
                yield waiting.popleft(), result
                meter.advance()

    def _detect_first(self, stop: threading.Event) -> Generator[tuple[Frame, FrameResult]]:
        """Detect in the whole video, read it again, and yield each frame with its result.

        If the user asks to stop or a frame cannot be read, the frames before that are taken for the whole
        video, and the error is raised after their results.
        """
        failures: list[StoppedError | InputError] = []
        with progress(self.video.name, total=self.total) as meter:

            def read() -> Iterator[Frame]:
                try:
                    for frame in self._read(stop):
                        yield frame
                        meter.advance()
                except (StoppedError, InputError) as error:
                    failures.append(error)

            results = list(run_session(self.session, read(), batch_size=self.options.batch_size))
        second_stop = threading.Event() if failures else stop
        with (
            progress(f"{self.video.name}, drawing", total=len(results)) as meter,
            closing(self._read(second_stop)) as frames,
        ):
            for result, frame in zip(results, frames, strict=False):
                yield frame, result
                meter.advance()
        if failures:
            raise failures[0]

    def _read(self, stop: threading.Event) -> Generator[Frame]:
        """Read the frames ahead on another thread, until the user asks to stop.

        Raises:
            StoppedError: The user asked to stop, and the video is not a live stream.
        """
        frames = _until(stop, self.video.every(self.options.every))
        ahead = queue_length(self.video.width, self.video.height)
        with closing(prefetch(frames, ahead=ahead)) as read_ahead:
            yield from _until(stop, read_ahead)
        if stop.is_set() and self.total is not None:
            raise StoppedError


class _Sink:
    """Selects a frame's detections of the chosen classes, tracks them, draws them and writes the outputs."""

    def __init__(
        self,
        outputs: DetectionOutputs,
        files: Sequence[str],
        labels: Tensor | None,
        tracker: Tracker | None,
    ) -> None:
        self._outputs, self._labels, self._tracker = outputs, labels, tracker
        self._files, self._stems = files, image_stems(files)

    def draw(self, frame: Frame, result: FrameResult, writing: InBackground) -> None:
        """Select, track and draw; have the picture and the detections written by `writing`."""
        index, found = result.index, result.detections
        if self._labels is not None:
            found = found[torch.isin(found.labels, self._labels.to(found.labels.device))]
        if self._tracker is not None:
            found = self._tracker.update(found.cpu())
        stem, file = (self._stems[index], self._files[index]) if self._files else (f"{index:06d}", None)
        selected = replace(result, detections=found)
        picture = self._outputs.draw(frame.image, selected)
        writing.submit(partial(self._outputs.write, picture, selected, name=stem, file=file))


def _open_outputs(
    folder: Path, video: Video, options: DetectOptions, metadata: Mapping[str, Any]
) -> DetectionOutputs:
    return DetectionOutputs(
        folder,
        video=video.name,
        rate=video.rate / options.every,
        width=video.width,
        height=video.height,
        pixel_aspect=video.pixel_aspect,
        save_frames=options.save_frames,
        tracks=options.track or options.link is not None,
        vote=options.track,
        metadata={"every": options.every, **_describe_linker(options.link), **metadata},
    )


def _describe_linker(linker: LinkerConfig | None) -> dict[str, Any]:
    return {} if linker is None else {"linking": linker.model_dump(mode="json")}


def _until(stop: threading.Event, frames: Iterable[Frame]) -> Iterator[Frame]:
    return itertools.takewhile(lambda _: not stop.is_set(), frames)


def _keep_partial(outputs: DetectionOutputs) -> None:
    """Keep the results of an interrupted run; log errors, so that they don't hide the interruption."""
    try:
        with uninterrupted():
            kept = outputs.finish(complete=False)
    except InputError as error:
        logger.warning("not all that was done could be kept: %s", error)
    else:
        if kept:
            logger.warning("%d frames done so far are kept: %s", outputs.frames, ", ".join(map(str, kept)))


def _labels_of(classes: Sequence[str], class_names: tuple[str, ...]) -> Tensor | None:
    """Return the labels of class names; None, which selects all classes, if no names are given."""
    for name in classes:
        if name not in class_names:
            raise InputError(f"classes: {name!r} is not one of the detector's: {', '.join(class_names)}")
    return torch.tensor([class_names.index(name) for name in classes]) if classes else None
