"""Write MOTChallenge's `gt.txt`, with `labels.txt` for the names of the classes."""

from __future__ import annotations

import configparser
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from megavid.core.errors import InputError
from megavid.core.files.atomic import atomic_folder, inside
from megavid.datasets.table.annotations import Annotations


def write_mot(annotations: Annotations, folder: Path) -> None:
    """Write `VIDEO/gt/gt.txt`, `VIDEO/gt/labels.txt` and `VIDEO/seqinfo.ini` for each video.

    A line is `frame, track, left, top, width, height, considered, class, visibility`. Frames, pixels and
    classes are numbered from 1. The track is -1 for boxes without one. Difficult objects are not considered;
    the visibility of occluded objects is 0, that of others 1.

    Args:
        annotations: The data set. `seqinfo.ini` has the size of its frames if it is known.
        folder: The folder to create; it appears complete or not at all. An existing folder must be empty.

    Raises:
        InputError: The folder is not empty or cannot be written, frames of a video are left out, or a name
            cannot be the name of a folder or a line of text.
    """
    a = annotations
    for name in a.classes:
        if name != name.strip() or not name or len(name.splitlines()) > 1:
            raise InputError(f"class {name!r}: expected a name that can be a line of labels.txt")
    with atomic_folder(folder) as aside:
        for video in np.unique(a.video).tolist():
            _check_frames(a, video)
            place = inside(aside, a.videos[video])
            (place / "gt").mkdir(parents=True)
            with (place / "gt" / "gt.txt").open("w", encoding="utf-8") as file:
                file.writelines(_lines(a, video))
            (place / "gt" / "labels.txt").write_text("".join(f"{n}\n" for n in a.classes), encoding="utf-8")
            with (place / "seqinfo.ini").open("w", encoding="utf-8") as file:
                _sequence_info(a, video).write(file, space_around_delimiters=False)


def _check_frames(a: Annotations, video: int) -> None:
    numbers = a.number[a.frames_of(video)]
    if len(numbers) <= numbers[-1]:
        raise InputError(
            f"video {a.videos[video]!r}: expected all frames from 0 to {numbers[-1]}, since MOT cannot leave "
            f"out any, got {len(numbers)} of them"
        )


def _lines(a: Annotations, video: int) -> Iterator[str]:
    span = a.frames_of(video)
    rows = slice(int(a.offsets[span.start]), int(a.offsets[span.stop]))
    boxes = a.boxes[rows].astype(np.float64)
    sides = np.concatenate((boxes[:, :2] + 1, boxes[:, 2:] - boxes[:, :2]), axis=1)
    frames = np.repeat(a.number[span], np.diff(a.offsets[span.start : span.stop + 1]))
    columns = (frames, a.tracks[rows], a.labels[rows], a.difficult[rows], a.occluded[rows])
    for box, frame, track, label, difficult, occluded in zip(
        sides.tolist(), *(column.tolist() for column in columns), strict=True
    ):
        place = ",".join(f"{value:.9g}" for value in box)
        yield f"{frame + 1},{track},{place},{int(not difficult)},{label + 1},{int(not occluded)}\n"


def _sequence_info(a: Annotations, video: int) -> configparser.ConfigParser:
    span = a.frames_of(video)
    info = configparser.ConfigParser(interpolation=None)
    info.optionxform = str  # type: ignore[assignment, method-assign]  # keeps capital letters
    about = {"name": a.videos[video], "seqLength": str(int(a.number[span.stop - 1]) + 1)}
    if a.width[span.start] and a.height[span.start]:
        about |= {"imWidth": str(a.width[span.start]), "imHeight": str(a.height[span.start])}
    info["Sequence"] = about
    return info
