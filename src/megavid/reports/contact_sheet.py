"""A contact sheet of a data set: for each class, some frames with their annotated objects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import PIL.Image

from megavid.core.errors import InputError
from megavid.core.files.atomic import atomic_path
from megavid.core.files.ownership import picture_marks
from megavid.core.files.paths import is_folder
from megavid.core.frames import Image
from megavid.core.text import printable
from megavid.datasets.frame_reader import read_frame
from megavid.datasets.table.annotations import Annotations
from megavid.video.render import Mark, draw_marks, label_color

_CLASSES, _TILES, _WIDTH, _HEIGHT = 40, 8, 240, 180
"""Rows, pictures in a row, and the size of a picture, pixels."""

_AROUND = 4
"""A picture shows so many times the longer side of an object, or the whole frame."""

_SUFFIXES = (".jpg", ".jpeg", ".png")

_GRAY, _DARK = 96, (40, 40, 40)


def check_picture(path: Path) -> None:
    """Check the name of a picture to write, and that its folder exists.

    Raises:
        InputError: Its suffix is none of a picture's, or there is no such folder.
    """
    if path.suffix.lower() not in _SUFFIXES:
        raise InputError(f"{path}: expected a name that ends in {', '.join(_SUFFIXES)}")
    if not is_folder(path.parent):
        raise InputError(f"{path}: cannot be written: there is no folder {path.parent}")


def write_contact_sheet(parts: Mapping[str, Annotations], path: Path) -> None:
    """Write a picture with a class a row: objects of it, spread evenly over the data, and boxes around them.

    Each picture is a part of a frame around an object, of which it says the place: the part of the data, the
    video and the frame's number. A frame that cannot be read is left gray.

    Args:
        parts: Data sets by their names, such as "train" and "val"; classes are those of all, up to 40.
        path: The file, such as a `.jpg`.

    Raises:
        InputError: Nothing is annotated, or the file cannot be written.
    """
    names = list(dict.fromkeys(name for part in parts.values() for name in part.classes))
    rows = [row for name in names if (row := list(_tiles(parts, name)))][:_CLASSES]
    if not rows:
        raise InputError(f"{path}: nothing to show: no object is annotated")
    sheet = np.full((len(rows) * _HEIGHT, _TILES * _WIDTH, 3), _GRAY, np.uint8)
    for y, row in enumerate(rows):
        for x, tile in enumerate(row):
            sheet[y * _HEIGHT :, x * _WIDTH :][: tile.shape[0], : tile.shape[1]] = tile
    with atomic_path(path) as aside:
        PIL.Image.fromarray(sheet).save(aside, quality=88, **picture_marks())


def _tiles(parts: Mapping[str, Annotations], name: str) -> Iterator[Image]:
    """The pictures of a class."""
    boxes = {
        part: np.flatnonzero(a.labels == a.classes.index(name))
        for part, a in parts.items()
        if name in a.classes
    }
    boxes = {part: rows for part, rows in boxes.items() if len(rows)}
    for part, rows in boxes.items():
        count = min(_TILES // len(boxes), len(rows))
        for row in rows[np.linspace(0, len(rows) - 1, count).astype(int)].tolist():
            yield _tile(parts[part], row, part)


def _tile(a: Annotations, row: int, part: str) -> Image:
    """A picture of a box and what is around it."""
    frame = int(np.searchsorted(a.offsets, row, side="right")) - 1
    video = a.videos[a.video[frame]]
    name = a.classes[a.labels[row]]
    place = printable(f"{name}: {part} {Path(video).name} {a.number[frame]}", limit=40)
    try:
        image = read_frame(a, frame)
    except InputError:
        return _with_text(np.full((_HEIGHT, _WIDTH, 3), _GRAY, np.uint8), f"{place}: cannot be read")
    x, y, side_x, side_y = _window(a.boxes[row], image.shape[1], image.shape[0])
    view = PIL.Image.fromarray(image[y : y + side_y, x : x + side_x])
    scale = min(_WIDTH / side_x, _HEIGHT / side_y)
    size = max(round(side_x * scale), 1), max(round(side_y * scale), 1)
    first, end = a.offsets[frame : frame + 2]
    moved = (a.boxes[first:end] - np.array([x, y, x, y])) * scale
    marks = [
        Mark(box.tolist(), printable(a.classes[label], limit=24), label_color(int(label)))
        for box, label in zip(moved, a.labels[first:end], strict=True)
    ]
    return _with_text(draw_marks(np.asarray(view.resize(size)), marks), place)


def _window(box: np.ndarray, width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, width and height of what is shown of a frame around a box."""
    wide = min(max(_AROUND * float(max(box[2] - box[0], box[3] - box[1])), _WIDTH), width)
    side_x = max(round(wide), 1)
    side_y = max(min(round(wide * _HEIGHT / _WIDTH), height), 1)
    if side_x > 0.8 * width:
        side_x, side_y = width, height
    x = np.clip(round(float(box[0] + box[2]) / 2 - side_x / 2), 0, width - side_x)
    y = np.clip(round(float(box[1] + box[3]) / 2 - side_y / 2), 0, height - side_y)
    return int(x), int(y), side_x, side_y


def _with_text(image: Image, text: str) -> Image:
    """A picture with a text in its last lines."""
    height, width = image.shape[:2]
    return draw_marks(image, [Mark((0, height - 1, width, height), text, _DARK)])
