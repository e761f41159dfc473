"""Write a data set in YOLO's format: images, a text file of labels for each image, and data.yaml."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import yaml
from numpy.typing import NDArray

from megavid.core.errors import InputError
from megavid.core.files.atomic import atomic_folder, inside
from megavid.core.frames import Image
from megavid.datasets.frame_reader import FrameError, FrameReader, frame_size, image_path
from megavid.datasets.sizes import describe_sizes
from megavid.datasets.table.annotations import NO_TRACK, Annotations
from megavid.datasets.table.problems import Kind, Problems

_QUALITY = 95
"""Quality of the JPEG files that are made from frames of video files."""

_HEADER = """\
# train and val both contain all images. Before training with this file, divide the folders in images, such as
# train: [images/first, images/second]
# val: [images/third]
"""

_Size = tuple[int, int]


@dataclass(frozen=True)
class Written:
    """The numbers of frames and boxes that were written or left out.

    Attributes:
        frames: Number of frames written.
        boxes: Number of boxes written.
        difficult: Number of boxes left out because they are difficult, crowds included.
        outside: Number of boxes left out because they are outside their frames.
    """

    frames: int = 0
    boxes: int = 0
    difficult: int = 0
    outside: int = 0


def write_yolo(
    annotations: Annotations,
    folder: Path,
    *,
    tracks: bool = False,
    problems: Problems,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Written:
    """Write `images/VIDEO/NUMBER.*`, `labels/VIDEO/NUMBER.txt` and `data.yaml`.

    Images become symbolic links to the originals; frames of video files become JPEG files of quality 95.
    Boxes are clipped to their frame, since other programs refuse boxes that extend beyond it. Difficult
    objects and crowds are left out, since the format cannot mark them.

    Args:
        annotations: The data set.
        folder: The folder to create; it appears complete or not at all. An existing folder must be empty.
        tracks: Whether to write each object's track id as a sixth number, which some programs refuse.
        problems: Collects frames that cannot be read, or whose size differs from the annotated size.
        progress: Called with the number of frames written so far and the total.

    Raises:
        InputError: The folder is not empty or cannot be written, or a video's name cannot be a folder name;
            or see `problems`.
    """
    a = annotations
    frames = boxes = outside = 0
    with atomic_folder(folder) as aside, FrameReader(a) as reader:
        for video in np.unique(a.video).tolist():
            images, texts = (_video_folder(aside, kind, a.videos[video]) for kind in ("images", "labels"))
            for row in range(*a.frames_of(video).indices(len(a))):
                size = _write_image(a, row, reader, images, problems)
                if size is not None:
                    lines, left_out = _label_lines(a, row, size, tracks=tracks)
                    with (texts / f"{a.number[row]:06d}.txt").open("x", encoding="utf-8") as file:
                        file.writelines(f"{line}\n" for line in lines)
                    frames, boxes, outside = frames + 1, boxes + len(lines), outside + left_out
                progress(row + 1, len(a))
        (aside / "data.yaml").write_text(_data_yaml(a, folder), encoding="utf-8")
    return Written(frames, boxes, difficult=int(a.difficult.sum()), outside=outside)


def _video_folder(folder: Path, kind: str, name: str) -> Path:
    """Make the folder of a video's images or labels."""
    if {"images", "labels"} & set(Path(name).parts):
        raise InputError(
            f"video {name!r}: expected no folder called images or labels in the name: YOLO's tools find the "
            "labels of an image by exchanging these"
        )
    path = inside(folder / kind, name)
    path.mkdir(parents=True, exist_ok=True)
    return path


def _write_image(
    a: Annotations, row: int, reader: FrameReader, folder: Path, problems: Problems
) -> _Size | None:
    """Write the image of a frame and return its size; None if the frame has a problem."""
    try:
        if a.sources[a.video[row]]:
            image = reader.read(row)
            size = (image.shape[1], image.shape[0])
        else:
            image, size = None, frame_size(a, row)
    except FrameError as error:
        problems.add_problem(error.problem)
        return None
    annotated = (int(a.width[row]), int(a.height[row]))
    if all(annotated) and annotated != size:
        problems.add(Kind.IMAGE_SIZE, a.describe(row), describe_sizes(annotated, size))
        return None
    stem = f"{a.number[row]:06d}"
    if image is None:
        path = image_path(a, row).absolute()
        _link(folder / f"{stem}{path.suffix.lower()}", path)
    else:
        _save(image, folder / f"{stem}.jpg")
    return size


def _save(image: Image, path: Path) -> None:
    with path.open("xb") as file:
        PIL.Image.fromarray(image).save(file, "JPEG", quality=_QUALITY)


def _link(link: Path, path: Path) -> None:
    try:
        link.symlink_to(path)
    except OSError as error:  # some file systems have no links
        raise InputError(f"{link}: cannot be made as a link: {error.strerror}") from error


def _label_lines(a: Annotations, row: int, size: _Size, *, tracks: bool) -> tuple[list[str], int]:
    """Format the boxes of a frame that are not difficult.

    Returns:
        A line for each box that is at least partly inside the frame, and the number of boxes outside it.
    """
    span = slice(int(a.offsets[row]), int(a.offsets[row + 1]))
    scaled = (a.boxes[span].astype(np.float64) / (*size, *size)).clip(0, 1)
    columns = (a.labels[span].tolist(), a.tracks[span].tolist(), a.difficult[span].tolist())
    lines, outside = [], 0
    for box, label, track, difficult in zip(scaled, *columns, strict=True):
        if difficult:
            continue
        if (box[2:] > box[:2]).all():
            number = f" {track}" if tracks and track != NO_TRACK else ""
            lines.append(f"{label} {_center_and_size(box)}{number}")
        else:
            outside += 1
    return lines, outside


def _center_and_size(box: NDArray[Any]) -> str:
    center, size = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
    return " ".join(f"{value:.9g}" for value in (*center.tolist(), *size.tolist()))


def _data_yaml(a: Annotations, folder: Path) -> str:
    content = {
        "path": str(folder.absolute()),
        "train": "images",
        "val": "images",
        "names": dict(enumerate(a.classes)),
    }
    return _HEADER + yaml.safe_dump(content, allow_unicode=True, sort_keys=False)
