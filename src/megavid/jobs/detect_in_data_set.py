"""Detect in all videos of a data set, in one process or several; an interrupted run can be continued."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

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
from megavid.jobs.stop_requests import StoppedError, stop_request
from megavid.jobs.threads.thread_count import recorded_threads
from megavid.linking.linker_config import LinkerConfig
from megavid.models.base.video_detector import VideoDetector
from megavid.runtime.detect_video import run_session
from megavid.runtime.prefetch import prefetch, queue_length
from megavid.runtime.session import VideoSession
from megavid.video.every_nth import EveryNth


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """Options for detecting in a data set; detector, data set and options determine the predictions.

    Attributes:
        score_threshold: Detections with a score above this are kept; None for the configured threshold.
        batch_size: Number of frames that go through the network together.
        causal: See `VideoSession`.
        seed: See `VideoSession`.
        official_quirks: See `VideoSession`.
        link: Linker of the results of each video; None for none. It is given what would be saved without it,
            so the result is that of `link_predictions`.
    """

    score_threshold: float | None = None
    batch_size: int = 1
    causal: bool = False
    seed: int = 0
    official_quirks: bool = False
    link: LinkerConfig | None = None

    def __post_init__(self) -> None:
        check_range("batch_size", self.batch_size, least=1, most=MOST_BATCH)
        check_share("score_threshold", self.score_threshold)
        check_seed(self.seed)


def detect_in_data_set(
    detector: VideoDetector,
    annotations: Annotations,
    folder: Path,
    options: EvaluateOptions,
    *,
    ranks: Ranks,
    metadata: Mapping[str, Any],
    problems: Problems,
) -> bool:
    """Write `predictions.parquet` with the detections in every annotated frame.

    The processes divide the videos among themselves. Each finished video becomes a file in `folder/parts`, so
    that an interrupted run continues with the videos that have no file yet. At the end the parts are merged
    in the data set's order. The result does not depend on the number of processes or on interruptions, except
    for rounding errors on a CPU, which depend on the number of threads of a process.

    Args:
        detector: A detector from `load_detector`.
        annotations: The data set.
        folder: Output folder; made if missing.
        options: How to detect.
        ranks: The rank of this process.
        metadata: Additional metadata of the predictions file, as JSON values; a run that is continued needs
            the same values.
        problems: Collects frames that cannot be read.

    Returns:
        Whether all videos are done; False if the user asked to stop.

    Raises:
        InputError: The data set is empty, its classes are not those of the detector, the detector is not for
            any video, a frame cannot be read, or `folder` holds parts of a run with other settings.
    """
    if len(annotations) == 0:
        raise InputError(f"{annotations.root}: the data set has no frames")
    if not detector.for_any_video:
        raise InputError(
            f"{detector.architecture}: expected a detector of any video to evaluate; megavid score scores "
            "saved predictions"
        )
    check_classes(detector, annotations, problems)
    job = _Job(detector, annotations, options, problems)
    run = {**job.settings(), **metadata}
    with ExitStack() as stack:
        if ranks.first:
            make_output_folder(folder)
            stack.enter_context(locked_folder(folder, launch=launch_id()))
            prepare_parts(folder, run, threads=recorded_threads(detector.device.type))
        if ranks.agree(ranks.first and (folder / PREDICTIONS).exists()):
            return True
        if not _detect_missing(job, folder, ranks):
            return False
        ranks.wait()
        if ranks.first:
            merge_parts(folder, annotations, run)
        ranks.wait()
    return True


@dataclass(frozen=True)
class _Job:
    """The arguments of `detect_in_data_set` that are the same for all videos."""

    detector: VideoDetector
    annotations: Annotations
    options: EvaluateOptions
    problems: Problems

    def settings(self) -> dict[str, Any]:
        """Return the settings that determine the predictions, as JSON values."""
        link, options = self.options.link, asdict(self.options)
        del options["link"]
        return {
            **self.detector.description(),
            "options": options,
            "linking": None if link is None else link.model_dump(mode="json"),
            "data": {"frames": len(self.annotations), "sha256": _fingerprint(self.annotations)},
        }


def _detect_missing(job: _Job, folder: Path, ranks: Ranks) -> bool:
    """Write this process's share of the missing parts; return whether all of them are written."""
    lengths = job.annotations.frames_per_video
    missing = [v for v in range(len(lengths)) if lengths[v] and not part_path(folder, v).exists()]
    videos = share_out(ranks.agree(missing), lengths, world_size=ranks.world_size)[ranks.rank]
    frames = int(lengths[videos].sum())
    with stop_request() as stop, progress("detecting", total=frames, shown=ranks.first) as meter:

        def tick() -> None:
            meter.advance()
            if stop.is_set():
                raise StoppedError

        try:
            for video in videos:
                _detect_video(job, video, part_path(folder, video), tick)
        except StoppedError:
            return False
    return True


def _detect_video(job: _Job, video: int, path: Path, tick: Callable[[], None]) -> None:
    """Write the part of a video; the part's metadata tells how many frames could not be read."""
    annotations, problems = job.annotations, job.problems
    name = annotations.videos[video]
    span = annotations.frames_of(video)
    left = set(range(span.start, span.stop))
    with open_video(annotations, video, problems=problems) as opened, atomic_path(path) as aside:
        writer = PredictionWriter(aside, metadata={})
        if opened.frames is not None:
            writer.set_size(name, width=opened.frames.width, height=opened.frames.height)
        rows: dict[int, int] = {}  # by frame number

        def detected() -> Iterator[FrameResult]:
            for result, row in _results(job, opened):
                left.remove(row)
                number = int(annotations.number[row])
                rows[number] = row
                yield replace(result, index=number)
                tick()

        link = job.options.link
        for result in detected() if link is None else link.start()(detected()):
            writer.write(name, result, file=annotations.files[rows[result.index]].as_py())
        for row in left & set(opened.rows):  # damaged frames of a video file, which yield no result
            problems.add(Kind.BAD_IMAGE, annotations.describe(row), "cannot be decoded")
        writer.close(left_out=len(left))


def _results(job: _Job, video: AnnotatedVideo) -> Iterator[tuple[FrameResult, int]]:
    """Detect in a video; yield the result of each annotated frame, and the frame's row in the data set."""
    frames, options = video.frames, job.options
    if frames is None:
        return
    session = VideoSession(
        job.detector,
        # If problems are skipped, the nearest frame replaces a damaged global frame.
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
    """Hash the list of frames, but not their objects: correcting annotations requires no new detection."""
    digest = hashlib.sha256(json.dumps([annotations.videos, annotations.sources]).encode())
    digest.update(annotations.video.tobytes() + annotations.number.tobytes())
    digest.update(json.dumps(annotations.files.to_pylist()).encode())
    return digest.hexdigest()
