"""`megavid archive run`: detect in many videos."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from megavid.cli.detector_options import DetectorOptions
from megavid.cli.options import FLAT, optional
from megavid.cli.output import say
from megavid.core.errors import InputError
from megavid.core.ranges import INT64

if TYPE_CHECKING:
    from megavid.jobs.archive.driver import ArchiveSummary
    from megavid.jobs.archive.worker_spec import DetectorArguments, SegmentOptions, WorkerSpec
    from megavid.jobs.executors.engine import Engine

_SEGMENT_FRAMES = 3000

_MOST_LINES = 20
"""Largest number of videos whose problem is printed; the status has all."""


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """What runs the workers."""

    engine: Literal["local", "ray"] = "local"
    """What runs the workers: processes of this machine, or actors of a Ray cluster (extra "ray")."""
    workers: Annotated[int | None, optional("INT", "one for each GPU or core")] = None
    """Number of workers, each of which holds the detector."""
    address: Annotated[str | None, optional("ADDRESS", "a cluster on this machine alone")] = None
    """With --engine ray: address of a running Ray cluster, such as auto or head:6379."""
    gpus_per_actor: Annotated[float | None, optional("FLOAT", "1 if the cluster has GPUs")] = None
    """With --engine ray: number of GPUs of a worker, such as 0.25 for four workers on a GPU."""

    def check(self) -> None:
        """Check the options before any work begins.

        Raises:
            InputError: A number is out of range, or an option is for another engine.
        """
        from megavid.core.ranges import MOST_WORKERS, check_range

        check_range("--workers", self.workers, least=1, most=MOST_WORKERS)
        for option, value in (("--address", self.address), ("--gpus-per-actor", self.gpus_per_actor)):
            if value is not None and self.engine != "ray":
                raise InputError(f"{option}: is for --engine ray, got --engine {self.engine}")

    def start(self, spec: WorkerSpec) -> Engine:
        """Return the engine.

        Raises:
            InputError: There is no such cluster, or Ray is not installed.
        """
        if self.engine == "local":
            from megavid.jobs.executors.local_engine import LocalEngine

            return LocalEngine(spec, workers=self.workers)
        from megavid.jobs.executors.ray_engine import RayEngine

        return RayEngine(spec, workers=self.workers, address=self.address, gpus_per_actor=self.gpus_per_actor)


@dataclass(frozen=True, kw_only=True)
class Run:
    """Detect in many videos, on one machine or a cluster, or go on with it.

    Writes a Parquet file for each segment of a video to OUT/parts, which is a data set at any time. The same
    command goes on after an interruption, and detects in new and changed videos only. Long videos are shared
    out in segments without changing a detection.
    Any value of the model's configuration can be set by its path: --method.window 6
    """

    videos: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="VIDEOS")]
    """Folder, pattern such as "videos/*.mp4", or list of videos (.txt, .csv, .parquet), on this machine or
    remote (s3://, gs:// and others)."""
    detector: Annotated[DetectorOptions, FLAT]
    output: Annotated[str, tyro.conf.arg(aliases=["-o"], metavar="OUT")]
    """Output folder, on this machine or remote."""
    column: Annotated[str | None, optional("NAME", "path or video")] = None
    """Column of a list in Parquet or CSV that has the paths or addresses of the videos."""
    score_threshold: float = 0.05
    """Save detections with a score above this."""
    every: int = 1
    """Detect in every n-th frame only."""
    segment_frames: Annotated[int | None, optional("INT", "3000, or a little less")] = None
    """Number of detected frames of a segment, a multiple of --batch-size. Longer videos are split."""
    run_on: Annotated[EngineOptions, FLAT] = field(default_factory=EngineOptions)
    cache_bytes: int = 20_000_000_000
    """Disk space that each worker may use for copies of remote videos, in bytes."""
    shard: Annotated[str | None, optional("I/N", "all videos")] = None
    """Share of the videos for run I, from 0, of N runs on the same VIDEOS and OUT, as in an array of jobs."""
    retry_failed: bool = False
    """Try again what failed before."""
    clean: bool = False
    """Remove what runs that were killed more than an hour ago left in OUT."""

    def run(self, overrides: Mapping[str, str]) -> int:
        """Run the command and return its exit code."""
        from megavid.core.files.storage import Storage
        from megavid.jobs.archive.archive_folder import ArchiveFolder
        from megavid.jobs.archive.driver import run_archive
        from megavid.jobs.archive.manifest import list_videos
        from megavid.jobs.archive.prepare_archive import choose_share, prepare_archive
        from megavid.jobs.archive.worker_spec import WorkerSpec

        options = self._options()
        segment_frames = self._segment_frames()
        self.run_on.check()
        folder = ArchiveFolder(Storage.open(self.output))
        listed = list_videos(self.videos, column=self.column)
        videos = choose_share(listed.videos, self.shard)
        detector, metadata = self._find_detector(overrides)
        settings = {
            **{key: metadata.get(key) for key in ("architecture", "config", "inference", "weights_sha256")},
            **asdict(options),
            "segment_frames": segment_frames,
        }
        prepared = prepare_archive(folder, listed, settings)
        if prepared.stale:
            say(f"megavid: removed {prepared.stale} segments of videos that have changed", error=True)
        if self.clean:
            say(f"megavid: removed {folder.clean()} parts that killed runs left", error=True)
        spec = WorkerSpec(
            detector=detector,
            options=options,
            output=folder.storage.address,
            settings=prepared.settings,
            segment_frames=segment_frames,
            cache=Path(tempfile.gettempdir()) / f"megavid-{os.getuid()}",
            cache_bytes=self.cache_bytes,
            metadata=metadata,
            device=self.detector.device,
            threads=self.detector.threads.threads,
        )
        summary = run_archive(
            videos,
            folder,
            self.run_on.start(spec),
            settings=prepared.settings,
            segment_frames=segment_frames,
            retry_failed=self.retry_failed,
        )
        return self._report(summary, listed.unreadable)

    def _options(self) -> SegmentOptions:
        from megavid.core.ranges import check_range
        from megavid.jobs.archive.worker_spec import SegmentOptions

        self.detector.threads.check()
        check_range("--cache-bytes", self.cache_bytes, least=1, most=INT64.stop - 1)
        return SegmentOptions(
            every=self.every, score_threshold=self.score_threshold, batch_size=self.detector.batch_size
        )

    def _segment_frames(self) -> int:
        """Return the number of frames of a segment, which is a multiple of the batch size."""
        from megavid.core.ranges import check_range
        from megavid.datasets.formats.limits import MOST_FRAMES

        batch = self.detector.batch_size
        if self.segment_frames is None:
            return _SEGMENT_FRAMES // batch * batch
        check_range("--segment-frames", self.segment_frames, least=1, most=MOST_FRAMES)
        if self.segment_frames % batch:
            raise InputError(
                f"--segment-frames: expected a multiple of --batch-size {batch}, got {self.segment_frames}"
            )
        return self.segment_frames

    def _find_detector(self, overrides: Mapping[str, str]) -> tuple[DetectorArguments, dict[str, Any]]:
        """Load the detector once, to find mistakes before workers start.

        Returns:
            What the workers load, and the metadata of their predictions.
        """
        from megavid.checkpoints.load import load_detector
        from megavid.core.config import parse_overrides
        from megavid.core.files.paths import is_file
        from megavid.jobs.archive.worker_spec import DetectorArguments

        options = self.detector
        inference = options.inference.settings()
        weights = options.weights
        arguments = DetectorArguments(
            model=options.choose(),
            weights=None if weights is None else str(weights.absolute() if is_file(weights) else weights),
            overrides=parse_overrides(overrides),
            inference=inference,
            method_module=options.methods.method_module,
        )
        detector = load_detector(
            arguments.model,
            weights=arguments.weights,
            device="cpu",
            overrides=arguments.overrides,
            inference=None,
        )
        if not detector.for_any_video:
            raise InputError("--detector: expected a detector for any video, got the saved boxes of one")
        about = options.about_weights(detector)
        description = {**detector.description(), "inference": inference.model_dump(mode="json"), **about}
        return replace(arguments, weights_sha256=about.get("weights_sha256")), description

    def _report(self, summary: ArchiveSummary, unreadable: Mapping[str, str]) -> int:
        """Print what was done, and return the exit code."""
        if not summary.complete:
            say("megavid: interrupted; the same command goes on", error=True)
        for address, reason in list(unreadable.items())[:_MOST_LINES]:
            say(f"megavid: cannot be read: {address}: {reason}", error=True)
        failed = summary.failed + len(unreadable)
        speed = summary.frames / summary.seconds if summary.seconds else 0.0
        say(
            f"{self.output}: {summary.videos} videos done, {summary.frames} frames, {summary.detections} "
            f"detections in {summary.seconds:.1f} s, {speed:.1f} frames/s; {failed} failed"
        )
        if failed:
            retry = "; --retry-failed tries again" if summary.failed else ""
            say(f"  megavid archive status {self.output} has the reasons{retry}")
        return summary.exit_code or (1 if unreadable else 0)
