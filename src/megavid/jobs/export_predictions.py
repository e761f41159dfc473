"""Export saved predictions to the formats of label tools and other programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from megavid.core.errors import InputError
from megavid.core.ranges import check_range, check_share
from megavid.core.similar_names import hint_similar
from megavid.datasets.formats.export_format import ExportFormat
from megavid.datasets.formats.exports import EXPORTS, ToExport, check_export_options
from megavid.datasets.table.problems import Problems
from megavid.evaluation.formats.parquet_columns import read_frame_columns
from megavid.evaluation.formats.parquet_schema import check_suffix
from megavid.evaluation.formats.parquet_table import read_parquet
from megavid.evaluation.predicted_annotations import PredictedVideo, as_annotations
from megavid.evaluation.prediction_table import PredictionTable
from megavid.jobs.predicted_videos import describe_videos, media_root
from megavid.jobs.progress import progress

_LARGEST_STRIDE = 1_000_000


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Options of an export.

    Attributes:
        form: Format to write.
        video: The video file or folder of images; or a folder that contains the videos by their names. None
            if the predictions file has all that the format needs.
        score_threshold: Boxes with at least this score are exported.
        classes: Classes to export, in the order of their labels; empty for all.
        every: Export every n-th of the frames that the detector ran on.
        tracks: For YOLO: whether to write track ids.
        address: For Label Studio: prefix of the names of videos, such as "/data/local-files/?d=videos/".
    """

    form: ExportFormat
    video: Path | None = None
    score_threshold: float = 0.0
    classes: Sequence[str] = ()
    every: int = 1
    tracks: bool = False
    address: str = ""

    def __post_init__(self) -> None:
        check_range("every", self.every, least=1, most=_LARGEST_STRIDE)
        check_share("score_threshold", self.score_threshold)
        check_export_options(self.form, tracks=self.tracks, address=self.address)


@dataclass(frozen=True, kw_only=True)
class ExportSummary:
    """Summary of an export.

    Attributes:
        videos: Number of videos written.
        frames: Number of frames written.
        boxes: Number of boxes written.
        tracks: Number of tracks, without boxes that have no track.
        left_out: Number of boxes left out because they have no area within their frame.
        other_classes: Number of boxes left out because their track has the same box with a better class.
    """

    videos: int
    frames: int
    boxes: int
    tracks: int
    left_out: int
    other_classes: int


def export_predictions(source: Path, target: Path, options: ExportOptions) -> ExportSummary:
    """Write a predictions file in another format.

    Args:
        source: The predictions file (.parquet).
        target: A file or a new folder, depending on the format; it appears complete or not at all.
        options: What to write.

    Raises:
        InputError: The predictions are missing, broken or lack what the format needs; a class is unknown;
            the videos cannot be read or do not fit; or `target` cannot be written.
    """
    export = EXPORTS[options.form]
    export.check_target(target)
    check_suffix(source)
    if options.video is not None and not options.video.exists():
        raise InputError(f"--video: {options.video}: no such file or folder")
    predictions = read_parquet(source, problems=Problems())
    classes = _chosen_classes(predictions, options.classes)
    columns = read_frame_columns(source)
    videos = describe_videos(predictions, columns, options.video, every=options.every)
    _check_videos(source, videos, options)
    predicted = as_annotations(
        predictions,
        columns,
        videos,
        root=media_root(options.video or source),
        classes=classes,
        score_threshold=options.score_threshold,
    )
    a = predicted.annotations
    with progress("export") as meter:
        written = export.write(
            ToExport(
                annotations=a,
                scores=predicted.scores,
                times=predicted.times,
                tracks=options.tracks,
                address=options.address,
                progress=meter.update,
            ),
            target,
        )
    tracked = {(int(v), int(t)) for v, t in zip(a.video[a.box_frames], a.tracks, strict=True) if t >= 0}
    return ExportSummary(
        videos=len(a.videos),
        frames=written.frames,
        boxes=written.boxes,
        tracks=len(tracked),
        left_out=predicted.without_area + written.outside,
        other_classes=predicted.other_classes,
    )


def _chosen_classes(predictions: PredictionTable, names: Sequence[str]) -> tuple[str, ...]:
    known = predictions.class_names
    if len(set(known)) < len(known):
        repeated = next(name for i, name in enumerate(known) if name in known[:i])
        raise InputError(
            f"{predictions.origin}: expected a different name for each class, got {repeated!r} twice"
        )
    for name in names:
        if name not in known:
            raise InputError(
                f"--classes: expected some of {', '.join(known)}, got {name!r}{hint_similar(name, known)}"
            )
    return tuple(names) or known


def _check_videos(source: Path, videos: Sequence[PredictedVideo], options: ExportOptions) -> None:
    """Check that what the format needs is known of all videos."""
    export = EXPORTS[options.form]
    for video in videos:
        lacking = ""
        if export.needs_pixels and options.video is None:
            lacking = "the images"
        elif export.needs_size and not all(video.size):
            lacking = "the size"
        elif export.needs_files and not video.source and None in video.files:
            lacking = "the names of all images"
        if lacking:
            raise InputError(
                f"{source}: lacks {lacking} of video {video.name!r}, which {options.form} needs; --video "
                "gives the video"
            )
