"""Export saved predictions to the formats of label tools and other programs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from megavid.core.errors import InputError
from megavid.core.files.atomic import Ours, check_new_folder, check_target
from megavid.core.files.ownership import json_by_megavid, written_by_megavid
from megavid.core.ranges import check_range, check_share
from megavid.core.similar_names import hint_similar
from megavid.datasets.formats.coco.write_cocovid import write_cocovid
from megavid.datasets.formats.cvat.write_cvat import write_cvat
from megavid.datasets.formats.mot.write_mot import write_mot
from megavid.datasets.formats.yolo.write_yolo import write_yolo
from megavid.datasets.table.problems import Problems
from megavid.evaluation.formats.box_csv import write_box_csv
from megavid.evaluation.formats.label_studio import write_label_studio
from megavid.evaluation.formats.parquet_columns import read_frame_columns
from megavid.evaluation.formats.parquet_schema import check_suffix
from megavid.evaluation.formats.parquet_table import read_parquet
from megavid.evaluation.predicted_annotations import PredictedAnnotations, PredictedVideo, as_annotations
from megavid.evaluation.prediction_table import PredictionTable
from megavid.jobs.predicted_videos import describe_videos, media_root
from megavid.jobs.progress import progress

ExportFormat = Literal["cvat", "coco", "mot", "yolo", "csv", "labelstudio"]

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
        if self.tracks and self.form != "yolo":
            raise InputError(f"--tracks: expected --as yolo, got {self.form}, which always has tracks")
        if self.address and self.form != "labelstudio":
            raise InputError(f"--address: expected --as labelstudio, got {self.form}")


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
    form = _FORMATS[options.form]
    form.check_target(target)
    check_suffix(source)
    if options.video is not None and not options.video.exists():
        raise InputError(f"--video: {options.video}: no such file or folder")
    predictions = read_parquet(source, problems=Problems())
    classes = _chosen_classes(predictions, options.classes)
    columns = read_frame_columns(source)
    videos = describe_videos(predictions, columns, options.video, every=options.every)
    form.check_videos(source, videos, options)
    predicted = as_annotations(
        predictions,
        columns,
        videos,
        root=media_root(options.video or source),
        classes=classes,
        score_threshold=options.score_threshold,
    )
    outside = form.write(predicted, target, options)
    a = predicted.annotations
    tracked = {(int(v), int(t)) for v, t in zip(a.video[a.box_frames], a.tracks, strict=True) if t >= 0}
    return ExportSummary(
        videos=len(a.videos),
        frames=len(a),
        boxes=len(a.boxes) - outside,
        tracks=len(tracked),
        left_out=predicted.without_area + outside,
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


def _write_yolo(predicted: PredictedAnnotations, target: Path, options: ExportOptions) -> int:
    a = predicted.annotations
    with progress("export") as meter:
        written = write_yolo(a, target, tracks=options.tracks, problems=Problems(), progress=meter.update)
    return written.outside


def _write_coco(predicted: PredictedAnnotations, target: Path, options: ExportOptions) -> int:
    write_cocovid(predicted.annotations, target, scores=predicted.scores)
    return 0


def _write_cvat(predicted: PredictedAnnotations, target: Path, options: ExportOptions) -> int:
    write_cvat(predicted.annotations, target)
    return 0


def _write_mot(predicted: PredictedAnnotations, target: Path, options: ExportOptions) -> int:
    write_mot(predicted.annotations, target)
    return 0


def _write_csv(predicted: PredictedAnnotations, target: Path, options: ExportOptions) -> int:
    write_box_csv(predicted, target)
    return 0


def _write_label_studio(predicted: PredictedAnnotations, target: Path, options: ExportOptions) -> int:
    write_label_studio(predicted, target, address=options.address)
    return 0


@dataclass(frozen=True, kw_only=True)
class _Format:
    """A format of exports.

    Attributes:
        write: Function that writes predictions, and returns the number of boxes that it left out because they
            are outside their frame.
        suffix: Suffix of the file; "" if the output is a folder.
        ours: Function that returns whether megavid wrote an existing file.
        needs_size: Whether the size of frames is needed.
        needs_files: Whether the name of each video's file or of all its images is needed.
        needs_pixels: Whether the videos themselves are needed.
    """

    write: Callable[[PredictedAnnotations, Path, ExportOptions], int]
    suffix: str = ""
    ours: Ours = written_by_megavid
    needs_size: bool = False
    needs_files: bool = False
    needs_pixels: bool = False

    def check_target(self, target: Path) -> None:
        """Check that the output can be written, before reading anything."""
        if not self.suffix:
            check_new_folder(target)
            return
        if target.suffix.lower() != self.suffix:
            raise InputError(f"{target}: expected a name that ends in {self.suffix}")
        check_target(target, ours=self.ours)

    def check_videos(self, source: Path, videos: Sequence[PredictedVideo], options: ExportOptions) -> None:
        """Check that what the format needs is known of all videos."""
        for video in videos:
            lacking = ""
            if self.needs_pixels and options.video is None:
                lacking = "the images"
            elif self.needs_size and not all(video.size):
                lacking = "the size"
            elif self.needs_files and not video.source and None in video.files:
                lacking = "the names of all images"
            if lacking:
                raise InputError(
                    f"{source}: lacks {lacking} of video {video.name!r}, which {options.form} needs; --video "
                    "gives the video"
                )


_FORMATS: dict[ExportFormat, _Format] = {
    "cvat": _Format(write=_write_cvat, needs_size=True),
    "coco": _Format(
        write=_write_coco, suffix=".json", ours=json_by_megavid, needs_size=True, needs_files=True
    ),
    "mot": _Format(write=_write_mot),
    "yolo": _Format(write=_write_yolo, needs_pixels=True),
    "csv": _Format(write=_write_csv, suffix=".csv"),
    "labelstudio": _Format(write=_write_label_studio, suffix=".json", ours=json_by_megavid, needs_size=True),
}
