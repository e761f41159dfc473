"""Write a data set as YOLO's tools take it: images, a text file for each, and data.yaml."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import yaml
from numpy.typing import NDArray

from megavid.core.errors import InputError
from megavid.core.files.atomic import atomic_folder, inside
from megavid.core.files.paths import is_file
from megavid.core.frames import Image
from megavid.datasets.table.annotations import NO_TRACK, Annotations
from megavid.datasets.table.problems import Kind, Problems
from megavid.video.images import image_size
from megavid.video.video_file import VideoFile

_QUALITY = 95
"""Quality of the JPEG files made from frames of videos."""

_HEAD = """\
# All images are under train and val alike. Before you train with it, share out the folders in images, such as
# train: [images/first, images/second]
# val: [images/third]
"""


@dataclass(frozen=True)
class Written:
    """What an export holds.

    Attributes:
        frames, boxes: Their numbers.
        difficult: Boxes that were left out because they are difficult, crowds among them.
        outside: Boxes that were left out because they are outside their frames.
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
    Boxes are clipped to their frame, since other programs refuse what is outside. Difficult objects and
    crowds are left out: the format has no mark for them.

    Args:
        annotations: The data set.
        folder: Appears whole or not at all; there must be nothing in it yet.
        tracks: Each object's track as a sixth number, which not every reader takes.
        problems: Where frames go that cannot be read or are of another size than annotated.
        progress: Called with the number of frames done and that of all.

    Raises:
        InputError: The folder is in use or cannot be written, or a video's name cannot be one of a folder; or
            see `problems`.
    """
    a = annotations
    kept = a.select_boxes(~a.difficult)
    boxes = frames = outside = 0
    with atomic_folder(folder) as aside:
        for video in np.unique(a.video).tolist():
            images, texts = (_video_folder(aside, kind, a.videos[video]) for kind in ("images", "labels"))
            for row, size in _write_images(a, video, images, problems):
                lines = _lines(kept, row, size, tracks=tracks)
                with (texts / f"{a.number[row]:06d}.txt").open("x", encoding="utf-8") as file:
                    file.writelines(f"{line}\n" for line in lines)
                frames, boxes = frames + 1, boxes + len(lines)
                outside += int(kept.offsets[row + 1] - kept.offsets[row]) - len(lines)
                progress(row + 1, len(a))
        places = {"path": str(folder.absolute()), "train": "images", "val": "images"}
        content = {**places, "names": dict(enumerate(a.classes))}
        text = yaml.safe_dump(content, allow_unicode=True, sort_keys=False)
        (aside / "data.yaml").write_text(_HEAD + text, encoding="utf-8")
    return Written(frames, boxes, difficult=int(a.difficult.sum()), outside=outside)


def _video_folder(folder: Path, kind: str, name: str) -> Path:
    """The folder of a video's images or labels."""
    if {"images", "labels"} & set(Path(name).parts):
        raise InputError(
            f"video {name!r}: expected no folder called images or labels in the name: YOLO's tools find the "
            "labels of an image by exchanging these"
        )
    path = inside(folder / kind, name)
    path.mkdir(parents=True, exist_ok=True)
    return path


def _write_images(
    a: Annotations, video: int, folder: Path, problems: Problems
) -> Iterator[tuple[int, tuple[int, int]]]:
    """Put the images of a video into a folder; the row and size of each that is there."""
    place = _extract if a.sources[video] else _link
    for row, size in place(a, video, folder, problems):
        annotated = (int(a.width[row]), int(a.height[row]))
        if all(annotated) and annotated != size:
            message = f"annotated as {annotated[0]}x{annotated[1]}, but it is {size[0]}x{size[1]}"
            problems.add(Kind.IMAGE_SIZE, a.describe(row), message)
        else:
            yield row, size


def _extract(
    a: Annotations, video: int, folder: Path, problems: Problems
) -> Iterator[tuple[int, tuple[int, int]]]:
    span = a.frames_of(video)
    with VideoFile(a.root / a.sources[video]) as file:
        for row in range(span.start, span.stop):
            number = int(a.number[row])
            if number >= len(file):
                message = f"the video has {len(file)} frames"
                problems.add(Kind.NO_FRAME, a.describe(row), message)
                continue
            try:
                image = file[number]
            except InputError as error:
                problems.add(Kind.BAD_IMAGE, a.describe(row), str(error))
                continue
            _save(image, folder / f"{number:06d}.jpg")
            yield row, (image.shape[1], image.shape[0])


def _save(image: Image, path: Path) -> None:
    with path.open("xb") as file:
        PIL.Image.fromarray(image).save(file, "JPEG", quality=_QUALITY)


def _link(
    a: Annotations, video: int, folder: Path, problems: Problems
) -> Iterator[tuple[int, tuple[int, int]]]:
    span = a.frames_of(video)
    for row, file in enumerate(a.files[span.start : span.stop].to_pylist(), span.start):
        if file is None:
            problems.add(Kind.NO_IMAGE, a.describe(row), "no image belongs to it")
            continue
        path = (a.root / file).absolute()
        if not is_file(path):
            problems.add(Kind.NO_IMAGE, path, "no such file")
            continue
        try:
            size = image_size(path)
        except InputError as error:
            problems.add(Kind.BAD_IMAGE, path, error.without(path))
            continue
        link = folder / f"{a.number[row]:06d}{path.suffix.lower()}"
        try:
            link.symlink_to(path)
        except OSError as error:  # some file systems have no links
            raise InputError(f"{link}: cannot be made as a link: {error.strerror}") from error
        yield row, size


def _lines(a: Annotations, row: int, size: tuple[int, int], *, tracks: bool) -> list[str]:
    """A line for each box of a frame that is not outside."""
    span = slice(int(a.offsets[row]), int(a.offsets[row + 1]))
    scaled = (a.boxes[span].astype(np.float64) / (*size, *size)).clip(0, 1)
    lines = []
    for box, label, track in zip(scaled, a.labels[span].tolist(), a.tracks[span].tolist(), strict=True):
        if (box[2:] > box[:2]).all():
            number = f" {track}" if tracks and track != NO_TRACK else ""
            lines.append(f"{label} {_center_and_sides(box)}{number}")
    return lines


def _center_and_sides(box: NDArray[Any]) -> str:
    center, sides = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
    return " ".join(f"{value:.9g}" for value in (*center.tolist(), *sides.tolist()))
