"""A contact sheet of a data set: one picture with some annotated objects of each class."""

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
"""Largest number of rows, number of tiles in a row, width and height of a tile in pixels."""

_CONTEXT = 4
"""Width of the part of a frame that a tile shows, as a multiple of the object's longer side."""

_SUFFIXES = (".jpg", ".jpeg", ".png")

_GRAY, _DARK = 96, (40, 40, 40)


def check_picture(path: Path) -> None:
    """Check that a picture can be written to a path.

    Raises:
        InputError: The suffix is not that of a picture, or the folder does not exist.
    """
    if path.suffix.lower() not in _SUFFIXES:
        raise InputError(f"{path}: expected a name that ends in {', '.join(_SUFFIXES)}")
    if not is_folder(path.parent):
        raise InputError(f"{path}: cannot be written: there is no folder {path.parent}")


def write_contact_sheet(parts: Mapping[str, Annotations], path: Path) -> None:
    """Write a picture with a row of tiles for each class, up to 40 classes.

    A tile shows an object, its surroundings with all boxes in them, and its place: the part of the data, the
    video and the number of the frame. The objects are evenly spaced in the data. If a frame cannot be read,
    its tile is gray.

    Args:
        parts: Data sets by their names, such as "train" and "val".
        path: The file to write, such as a `.jpg`.

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
    """Draw the tiles of a class."""
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
    """Draw the tile of the object in row `row` of the boxes."""
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
    """Return left, top, width and height of the part of a frame to show for a box."""
    wide = min(max(_CONTEXT * float(max(box[2] - box[0], box[3] - box[1])), _WIDTH), width)
    side_x = max(round(wide), 1)
    side_y = max(min(round(wide * _HEIGHT / _WIDTH), height), 1)
    if side_x > 0.8 * width:
        side_x, side_y = width, height
    x = np.clip(round(float(box[0] + box[2]) / 2 - side_x / 2), 0, width - side_x)
    y = np.clip(round(float(box[1] + box[3]) / 2 - side_y / 2), 0, height - side_y)
    return int(x), int(y), side_x, side_y


def _with_text(image: Image, text: str) -> Image:
    """Write a text on the lower edge of a tile."""
    height, width = image.shape[:2]
    return draw_marks(image, [Mark((0, height - 1, width, height), text, _DARK)])
