"""Detect in segments of videos: what a worker of an archive does."""

from __future__ import annotations

import logging
import shutil
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import torch

from megavid.checkpoints.load import load_detector
from megavid.checkpoints.other_libraries import describe_outside_weights
from megavid.checkpoints.weights import describe_weights
from megavid.core.errors import InputError
from megavid.core.files.atomic import make_aside, remove_leftovers
from megavid.core.files.storage import ConnectionLostError, Storage, StorageError
from megavid.evaluation.formats.parquet_writer import PredictionWriter
from megavid.jobs.archive.archive_folder import ArchiveFolder
from megavid.jobs.archive.archive_records import DoneRecord
from megavid.jobs.archive.segments import Segment, video_id
from megavid.jobs.archive.video_cache import VideoCache
from megavid.jobs.archive.worker_spec import DetectorArguments, WorkerSpec
from megavid.jobs.executors.engine import Counted, Done, Event, Failed, Task
from megavid.models.base.video_detector import VideoDetector
from megavid.models.outside_methods import add_methods
from megavid.runtime.detect_segment import detect_segment
from megavid.video.every_nth import EveryNth
from megavid.video.open_input import ImageFolder, ImagePages, LiveStream, VideoFile, open_input

logger = logging.getLogger(__name__)


class SegmentWorker:
    """Holds a detector, and detects in one segment after another.

    Args:
        spec: What the worker has to know.
        name: Name of the worker, for the records of the archive.

    Attributes:
        name: Name of the worker.
        detector: The detector.

    Raises:
        InputError: The detector cannot be loaded, or a folder cannot be written to.
    """

    def __init__(self, spec: WorkerSpec, name: str) -> None:
        self.name = name
        self._spec = spec
        self._folder = ArchiveFolder(Storage.open(spec.output))
        self._scratch = _make_scratch(spec.cache)
        self._part = self._scratch / "part.parquet"
        self._videos = VideoCache(self._scratch / "videos", limit=spec.cache_bytes)
        if spec.threads is not None:
            torch.set_num_threads(spec.threads)
        self.detector = _load(spec.detector, spec.device)

    def run(self, task: Task) -> Event:
        """Detect in a segment and commit its detections; if the video is longer than a segment, only count.

        Errors that are neither the video's nor the output's, such as full memory, are raised.
        """
        try:
            with _failing("output"):
                record = self._folder.record(task.segment.identifier(self._spec.settings))
            if record is not None:  # by another run, or by a worker that was lost right after it
                return Done(task, self.name, record.frames, record.detections, 0.0)
            return self._run(task)
        except _TaskError as error:
            return Failed(task, self.name, error.cause, str(error))
        finally:
            self._part.unlink(missing_ok=True)

    def fetch_ahead(self, task: Task) -> None:
        """Begin to copy the video of the next task, if it is remote; can be called from another thread."""
        self._videos.fetch_ahead(task.segment.video)

    def close(self) -> None:
        """Remove the worker's temporary files."""
        self._videos.close()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _run(self, task: Task) -> Done | Counted:
        began, segment = time.perf_counter(), task.segment
        with _failing("video"), open_input(self._videos.path(segment.video)) as video:
            assert not isinstance(video, LiveStream)  # a path is never one
            length = len(EveryNth(video, self._spec.options.every))
            if segment.length is None and length > self._spec.segment_frames:
                with _failing("output"):
                    self._folder.set_length(video_id(segment.video, self._spec.settings), length)
                return Counted(task, self.name, length)
            if segment.length not in {None, length}:
                raise InputError(
                    f"{segment.video.address}: expected {segment.length} frames as before, got {length}"
                )
            last = length if segment.last is None else segment.last
            frames, objects = self._detect(video, segment, last)
        seconds = time.perf_counter() - began
        record = DoneRecord(
            video=segment.video,
            first=segment.first,
            last=last,
            frames=frames,
            detections=objects.total(),
            objects=dict(objects),
            seconds=seconds,
            worker=self.name,
            attempt=task.attempt,
            finished=time.time(),
        )
        with _failing("output"):
            self._folder.commit(segment.identifier(self._spec.settings), self._part, record)
        return Done(task, self.name, frames, record.detections, seconds)

    def _detect(
        self, video: VideoFile | ImageFolder | ImagePages, segment: Segment, last: int
    ) -> tuple[int, Counter[str]]:
        """Write the part of a segment; return its number of frames with results, and of boxes by class."""
        options, address = self._spec.options, segment.video.address
        objects: Counter[str] = Counter()
        with _failing("output"):
            writer = PredictionWriter(self._part, metadata={**self._spec.metadata, "every": options.every})
        writer.set_size(address, width=video.width, height=video.height)
        for result in detect_segment(self.detector, video, segment.first, last, **vars(options)):
            found = result.detections
            objects.update(found.class_names[label] for label in found.labels.tolist())
            with _failing("output"):
                writer.write(address, result)
        lost = last - segment.first - writer.frames
        if lost:
            logger.warning("%s: %d frames are lost: the file is broken there", address, lost)
        with _failing("output"):
            writer.close(left_out=lost)
        return writer.frames, objects


class _TaskError(Exception):
    """A task failed, and the worker can go on."""

    def __init__(self, cause: Literal["video", "output"], reason: str) -> None:
        super().__init__(reason)
        self.cause = cause


@contextmanager
def _failing(cause: Literal["video", "output"]) -> Iterator[None]:
    """Turn errors in input or output into the failure of a task; a lost connection is the worker's."""
    try:
        yield
    except ConnectionLostError:
        raise
    except StorageError as error:
        raise _TaskError("output", str(error)) from error
    except InputError as error:
        raise _TaskError(cause, str(error)) from error


def _make_scratch(cache: Path) -> Path:
    """Make a folder for a worker's temporary files, and remove those of workers that were killed."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        remove_leftovers(cache)
        scratch = make_aside(cache)
        (scratch / "videos").mkdir()
    except OSError as error:
        raise InputError(f"{cache}: cannot be written: {error.strerror}") from error
    return scratch


def _load(arguments: DetectorArguments, device: str) -> VideoDetector:
    if arguments.method_module is not None:
        add_methods(arguments.method_module)
    detector = load_detector(
        arguments.model,
        weights=arguments.weights,
        device=device,
        overrides=arguments.overrides,
        inference=arguments.inference,
    )
    wanted = arguments.weights_sha256
    if wanted is not None:
        weights = arguments.weights
        about = describe_outside_weights(detector) if weights is None else describe_weights(weights)
        if (got := about.get("weights_sha256")) != wanted:
            raise InputError(
                f"{weights or arguments.model}: expected weights with SHA-256 {wanted}, "
                f"got {got} on {socket.gethostname()}"
            )
    return detector
