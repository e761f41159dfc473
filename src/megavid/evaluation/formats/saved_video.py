"""Read the predictions of one video from a file in any format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray

from megavid.core.errors import InputError
from megavid.core.text import listed, natural_key
from megavid.datasets.open import Source, open_annotations
from megavid.datasets.table.annotations import Annotations
from megavid.datasets.table.problems import Problems
from megavid.evaluation.formats.coco_results import has_images
from megavid.evaluation.formats.mot_detections import FIRST_FRAME, is_mot, read_mot
from megavid.evaluation.formats.parquet_metadata import check_not_linked
from megavid.evaluation.formats.parquet_schema import read_metadata
from megavid.evaluation.formats.parquet_videos import read_videos
from megavid.evaluation.formats.prediction_files import check_format, open_predictions
from megavid.evaluation.formats.video_info import check_number_of_frames, read_video_info
from megavid.evaluation.prediction_table import PredictionTable


@dataclass(frozen=True, eq=False, kw_only=True)
class SavedVideo:
    """Predictions of one video.

    Attributes:
        name: Name of the video in the file; "" if the file names none.
        table: The boxes, by ascending frame. Frames are numbered from 0.
        frames: int64 (F,), numbers of the frames that may have boxes, ascending: those that the detector ran
            on, or those of the data set. None if the file does not say.
        size: Width and height of the frames in pixels; None if unknown.
        length: Number of frames of the video; None if unknown.
        images: File of the image of each frame, by its number; without frames whose image the file does not
            name, or that the file identifies by a number of its own.
    """

    name: str
    table: PredictionTable
    frames: NDArray[np.int64] | None = None
    size: tuple[int, int] | None = None
    length: int | None = None
    images: Mapping[int, str] = field(default_factory=dict)


def read_saved_video(
    path: Path,
    *,
    video: str | None = None,
    class_names: Sequence[str] | None = None,
    data: Path | None = None,
    first_frame: int | None = None,
) -> SavedVideo:
    """Read the predictions of a video.

    Formats are megavid's own (.parquet), MOT's `det.txt`, COCO results, COCO annotations with scores, and all
    formats of `open_predictions`. In plain COCO, which has no videos, the images of a folder are the frames
    of a video, in natural order.

    Args:
        path: The file.
        video: Name of the video in the file or the data set; None if there is only one.
        class_names: Names of the classes 1, 2 and so on of a `det.txt`; for no other format.
        data: The data set whose images and classes the file refers to, for COCO results and formats that
            number the frames of a data set.
        first_frame: Number that the file gives the first frame of the video; None for 1 in a `det.txt` and 0
            elsewhere.

    Raises:
        InputError: The file is broken or has an invalid row, something is missing or has no use, or there are
            several videos and no name. Messages call the arguments by their names after "method.".
    """
    check_format(path)
    if path.suffix == ".parquet":
        _refuse(f"{path} has the names of its classes", class_names=class_names, data=data)
        found = _from_parquet(path, video)
    elif path.suffix == ".txt" and data is None and (class_names is not None or is_mot(path)):
        _refuse(f"{path} is of one video", video=video)
        return _from_mot(path, class_names, FIRST_FRAME if first_frame is None else first_frame)
    else:
        own = path.suffix == ".json" and has_images(path)
        if own:
            _refuse(f"{path} has categories and images itself", class_names=class_names, data=data)
        _refuse("the data set names the classes", class_names=class_names)
        if data is None and not own:
            or_mot = "; if it is MOT's det.txt, method.class_names names its classes"
            raise InputError(
                f"{path}: refers to images and classes of a data set, whose annotations method.data names"
                f"{or_mot if path.suffix == '.txt' else ''}"
            )
        found = _from_data_set(path, data or path, video)
    return _numbered(found, first_frame or 0)


def _refuse(reason: str, **settings: object) -> None:
    """Refuse settings that have no use for a file."""
    for name, value in settings.items():
        if value is not None:
            raise InputError(f"method.{name}: expected none, since {reason}")


def _from_mot(path: Path, class_names: Sequence[str] | None, first_frame: int) -> SavedVideo:
    if not class_names:
        raise InputError(
            f"{path}: does not name its classes; method.class_names does, such as '[person]' for one class"
        )
    table = read_mot(path, video="", class_names=class_names, first_frame=first_frame, problems=Problems())
    return SavedVideo(name="", table=_sorted(table))


def _from_parquet(path: Path, video: str | None) -> SavedVideo:
    about = read_metadata(path)
    check_not_linked(about, origin=path)
    found = {one.name: one for one in read_videos(path, problems=Problems(), only=video)}
    lengths: dict[str, int] = about.get("videos", {})
    name = _choose(video, [*lengths, *found], path)
    info = read_video_info(about, name, origin=path)
    frames = info.frames
    if frames is None and name in lengths:
        check_number_of_frames(lengths[name], name, origin=path)
        frames = np.arange(lengths[name], dtype=np.int64) * int(about.get("every", 1))
    if name not in found:
        table = _empty_table(name, about["classes"], path)
        return SavedVideo(name=name, table=table, frames=frames, size=info.size)
    one = found[name]
    return SavedVideo(name=name, table=_sorted(one.table), frames=frames, size=info.size, images=one.files)


def _empty_table(name: str, classes: Sequence[str], path: Path) -> PredictionTable:
    """Return the table of a video without boxes."""
    return PredictionTable(
        videos=(name,),
        video=np.empty(0, np.int32),
        frame=np.empty(0, np.int64),
        labels=np.empty(0, np.int32),
        scores=np.empty(0, np.float32),
        boxes=np.empty((0, 4), np.float32),
        class_names=tuple(classes),
        lengths=None,
        origin=path,
    )


def _from_data_set(path: Path, data: Path, video: str | None) -> SavedVideo:
    annotations = open_annotations(Source(path=data), problems=Problems())
    table = open_predictions(path, annotations, problems=Problems())
    folders = _folders_of_stills(annotations)
    if folders is not None:
        return _from_stills(table, annotations, folders, _choose(video, list(folders), data))
    name = _choose(video, annotations.videos, data)
    span = annotations.frames_of(annotations.videos.index(name))
    rows = table.video == (table.videos.index(name) if name in table.videos else -1)
    return SavedVideo(
        name=name,
        table=_sorted(table.take(rows)),
        frames=annotations.number[span],
        size=_size(annotations, np.arange(span.start, span.stop), data),
    )


def _folders_of_stills(annotations: Annotations) -> dict[str, list[int]] | None:
    """Return the rows of the still images in each folder, in natural order of their names.

    None if a video of the data set has several frames, or frames of a video file.
    """
    files = annotations.files.to_pylist()
    if (annotations.frames_per_video > 1).any() or any(annotations.sources) or None in files:
        return None
    folders: dict[str, list[int]] = {}
    for row in sorted(range(len(files)), key=lambda row: natural_key(PurePath(files[row]))):
        folders.setdefault(PurePath(files[row]).parent.as_posix(), []).append(row)
    return folders


def _from_stills(
    table: PredictionTable, annotations: Annotations, folders: dict[str, list[int]], name: str
) -> SavedVideo:
    """Return the boxes in the images of a folder, which are the frames of a video."""
    rows = np.array(folders[name])
    place = np.full(len(annotations.videos), -1)
    place[annotations.video[rows]] = np.arange(len(rows))
    numbers = {video: int(place[code]) for code, video in enumerate(annotations.videos)}
    frame = np.array([numbers.get(video, -1) for video in table.videos], np.int64)[table.video]
    table = replace(table, frame=frame, lengths=None)
    return SavedVideo(
        name=name,
        table=_sorted(table.take(frame >= 0)),
        frames=np.arange(len(rows), dtype=np.int64),
        size=_size(annotations, rows, annotations.root),
        length=len(rows),
        images=dict(enumerate(annotations.files.take(rows).to_pylist())),
    )


def _size(annotations: Annotations, rows: NDArray[np.int64], data: Path) -> tuple[int, int] | None:
    """Return the width and height of frames that must have one size; None if it is unknown."""
    columns = (annotations.width[rows].tolist(), annotations.height[rows].tolist())
    sizes = sorted({size for size in zip(*columns, strict=True) if all(size)})
    if len(sizes) > 1:
        shown = ", ".join(f"{width}x{height}" for width, height in sizes[:2])
        raise InputError(f"{data}: expected frames of one size, got {shown}")
    return sizes[0] if sizes else None


def _choose(video: str | None, names: Sequence[str], origin: Path) -> str:
    """Return the name of the video to read."""
    names = list(dict.fromkeys(names))
    if not names:
        raise InputError(f"{origin}: expected a video, got none")
    if video is None and len(names) > 1:
        raise InputError(
            f"{origin}: has {len(names)} videos; method.video names one of {listed(names, most=5)}"
        )
    if video is not None and video not in names:
        raise InputError(f"{origin}: has no video {video!r}, only {listed(names, most=5)}")
    return names[0] if video is None else video


def _sorted(table: PredictionTable) -> PredictionTable:
    return table.take(np.argsort(table.frame, kind="stable"))


def _numbered(found: SavedVideo, first_frame: int) -> SavedVideo:
    """Number frames from 0, and check that boxes are only in frames that may have some."""
    table, frames = found.table, found.frames
    for numbers in (table.frame[:1], () if frames is None else frames[:1]):
        for number in numbers:
            if number < first_frame:
                raise InputError(
                    f"{table.origin}: expected frames from {first_frame}, as method.first_frame says, got "
                    f"{number}"
                )
    if frames is not None:
        other = table.frame[~np.isin(table.frame, frames)]
        if len(other):
            raise InputError(
                f"{table.origin}: expected boxes in the {len(frames)} recorded frames of video "
                f"{found.name!r}, got one in frame {other[0]}"
            )
        frames = frames - first_frame
    return replace(
        found,
        table=replace(table, frame=table.frame - first_frame),
        frames=frames,
        images={number - first_frame: file for number, file in found.images.items()},
    )
