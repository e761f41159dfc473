"""Detecting in all videos of a data set, in one process or several; what was done is never done again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from megavid.core.detections import FrameResult
from megavid.core.errors import InputError
from megavid.core.files.atomic import atomic_path
from megavid.core.files.locks import locked_folder
from megavid.core.ranges import MOST_BATCH, check_range, check_seed, check_share
from megavid.datasets.open_video import AnnotatedVideo, open_video
from megavid.datasets.table.annotations import Annotations
from megavid.datasets.table.problems import Kind, Problems
from megavid.evaluation.formats.parquet_writer import PredictionWriter
from megavid.jobs.check_classes import check_classes
from megavid.jobs.evaluation_parts import merge_parts, part_path, prepare_parts
from megavid.jobs.executors.ranks import Ranks, share_out
from megavid.jobs.executors.torchrun import launch_id
from megavid.jobs.output_folder import PREDICTIONS, make_output_folder
from megavid.jobs.progress import progress
from megavid.jobs.stop_requests import stop_request
from megavid.jobs.threads.background import prefetch, queue_length
from megavid.jobs.threads.thread_count import recorded_threads
from megavid.models.base.detector import VideoDetector
from megavid.runtime.detect_video import run_session
from megavid.runtime.session import VideoSession
from megavid.video.stride import EveryNth


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """How to detect in a data set; together with the detector and the data it decides the predictions.

    Attributes:
        score_threshold: Lowest score, exclusive, of detections kept; None for the configured.
        batch_size: Frames that go through the network together.
        causal, seed, official_quirks: See `VideoSession`.
    """

    score_threshold: float | None = None
    batch_size: int = 1
    causal: bool = False
    seed: int = 0
    official_quirks: bool = False

    def __post_init__(self) -> None:
        check_range("batch_size", self.batch_size, least=1, most=MOST_BATCH)
        check_share("score_threshold", self.score_threshold)
        check_seed(self.seed)


def detect_in_data_set(
    detector: VideoDetector[Any, Any],
    annotations: Annotations,
    folder: Path,
    options: EvaluateOptions,
    *,
    ranks: Ranks,
    metadata: Mapping[str, Any],
    problems: Problems,
) -> bool:
    """Write `predictions.parquet` with the detections in every annotated frame.

    Whole videos are shared out to the processes. Each finished video is a file in `folder/parts`, so a run
    that was broken off goes on at the first video that is not done. In the end all are put together in the
    data set's order: the result is the same whatever the number of processes and of runs, but for rounding on
    a CPU, where it depends on the number of threads of a process.

    Args:
        detector: What `load_detector` gives.
        annotations: The data set.
        folder: Where it is put; made if missing.
        options: How to detect.
        ranks: This process among all.
        metadata: More for the predictions file to say of the run, as JSON values; the same in a rerun.
        problems: Where frames that cannot be read go.

    Returns:
        Whether all is done; False if the user asked to stop.

    Raises:
        InputError: A frame cannot be read, or `folder` holds parts of a run with other settings.
    """
    if len(annotations) == 0:
        raise InputError(f"{annotations.root}: the data set has no frames")
    check_classes(detector, annotations, problems)
    run = {
        **detector.description(),
        "options": asdict(options),
        "data": {"frames": len(annotations), "sha256": _fingerprint(annotations)},
        **metadata,
    }
    with ExitStack() as stack:
        if ranks.first:
            make_output_folder(folder)
            stack.enter_context(locked_folder(folder, launch=launch_id()))
            prepare_parts(folder, run, threads=recorded_threads(detector.device.type))
        return _detect_in_parts(_Job(detector, annotations, options, problems), folder, run, ranks)


def _detect_in_parts(job: _Job, folder: Path, run: Mapping[str, Any], ranks: Ranks) -> bool:
    """Detect in this process's share of what is missing, and put all together; whether all is done."""
    annotations = job.annotations
    done = ranks.agree(ranks.first and (folder / PREDICTIONS).exists())
    if done:
        return True
    lengths = np.bincount(annotations.video, minlength=len(annotations.videos))
    videos = [v for v in range(len(lengths)) if lengths[v] and not part_path(folder, v).exists()]
    videos = share_out(ranks.agree(videos), lengths, world_size=ranks.world_size)[ranks.rank]
    frames = int(lengths[videos].sum())
    with stop_request() as stop, progress("detecting", total=frames, shown=ranks.first) as meter:

        def tick() -> None:
            meter.advance()
            if stop.is_set():
                raise _StoppedError

        try:
            for video in videos:
                _detect_video(job, video, part_path(folder, video), tick)
        except _StoppedError:
            return False
    ranks.wait()
    if ranks.first:
        merge_parts(folder, {v: int(n) for v, n in enumerate(lengths) if n}, annotations, run)
    ranks.wait()
    return True


class _StoppedError(Exception):
    """The user asked to stop."""


@dataclass(frozen=True)
class _Job:
    """What is the same for all videos."""

    detector: VideoDetector[Any, Any]
    annotations: Annotations
    options: EvaluateOptions
    problems: Problems


def _detect_video(job: _Job, video: int, path: Path, tick: Callable[[], None]) -> None:
    """Write a video's part, which says in its metadata how many frames could not be read."""
    annotations, problems = job.annotations, job.problems
    name = annotations.videos[video]
    span = annotations.frames_of(video)
    left = set(range(span.start, span.stop))
    with open_video(annotations, video, problems=problems) as opened, atomic_path(path) as aside:
        writer = PredictionWriter(aside, metadata={})
        for result, row in _results(job, opened):
            left.remove(row)
            numbered = FrameResult(int(annotations.number[row]), result.time, result.detections)
            writer.write(name, numbered, file=annotations.files[row].as_py())
            tick()
        for row in left & set(opened.rows):  # damaged beyond decoding, in a video file
            problems.add(Kind.BAD_IMAGE, annotations.describe(row), "cannot be decoded")
        writer.close(left_out=len(left))


def _results(job: _Job, video: AnnotatedVideo) -> Iterator[tuple[FrameResult, int]]:
    """The detections of a video's annotated frames, with their rows in the annotations."""
    frames, options = video.frames, job.options
    if frames is None:
        return
    session = VideoSession(
        job.detector,
        # A damaged frame as a global one is an error like any other, unless errors are passed over.
        source=EveryNth(frames, 1) if job.problems.skip else frames,
        causal=options.causal,
        seed=options.seed,
        score_threshold=options.score_threshold,
        official_quirks=options.official_quirks,
    )
    with closing(prefetch(frames, ahead=queue_length(frames.width, frames.height))) as ahead:
        for result in run_session(session, ahead, batch_size=options.batch_size):
            row = video.rows[result.index]
            if row >= 0:
                yield result, row


def _fingerprint(annotations: Annotations) -> str:
    """Of the frames, not of what is annotated in them, which may be mended without detecting again."""
    digest = hashlib.sha256(json.dumps([annotations.videos, annotations.sources]).encode())
    digest.update(annotations.video.tobytes() + annotations.number.tobytes())
    digest.update(json.dumps(annotations.files.to_pylist()).encode())
    return digest.hexdigest()
