"""Read YOLO's text files: an image and a `.txt` of the same name, a line an object.

`class cx cy width height`, in fractions of the image's size; after them a track's id, where there are tracks.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from megavid.core.errors import InputError
from megavid.core.files.paths import is_file, is_folder
from megavid.core.files.regular_files import read_text
from megavid.core.ranges import LARGEST_EXACT
from megavid.datasets.formats.json_values import shown
from megavid.datasets.formats.yolo.yolo_labels import find_labels, report_labels
from megavid.datasets.formats.yolo.yolo_layout import CLASS_FILES, images_by_folder, read_layout
from megavid.datasets.formats.yolo.yolo_paths import absolute
from megavid.datasets.frame_names import is_video_frame, parse_name
from megavid.datasets.match_frames import number_files
from megavid.datasets.table.annotations import NO_TRACK, AnnotationBuilder, Annotations
from megavid.datasets.table.problems import Kind, Problems
from megavid.video.images import image_size

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def is_yolo(path: Path) -> bool:
    """Whether it is a data.yaml with `names`, or a folder with one or with `labels`."""
    if is_folder(path):
        return any((path / name).exists() for name in ("data.yaml", "labels", *CLASS_FILES))
    return path.suffix in {".yaml", ".yml"} and is_file(path)


def read_yolo(
    path: Path,
    *,
    images: Path | None = None,
    subset: str | None = None,
    classes: Sequence[str] | None = None,
    problems: Problems,
) -> Annotations:
    """Read a folder with `images` and `labels`, or with images and text files side by side.

    Where data.yaml names images under `train`, `val` and `test`, these are the data set; each is a folder,
    a text file with an image's path a line, or several of these. Paths start from its key `path`, else from
    its own folder.

    A folder of images is a video. Images that lie in one folder but have several names before their numbers
    (`cat_001.jpg`, `dog_001.jpg`) are a video for each name. Numbers in names are the frames' own; where no
    name has one, frames count from 0. An image without a text file has no objects.

    Args:
        path: The folder, or its data.yaml.
        images: The folder of images, if it is not `images`; text files are beside it in `labels`, or in it.
        subset: The key of data.yaml that names the images ("val"), or the folder in `images`; None for all.
        classes: Names in the order of their numbers; None for those of data.yaml, classes.txt (also in
            `labels`) or obj.names.
        problems: Where images and lines go that make no sense.

    Raises:
        InputError: The folder has no images, or nothing names the classes; or see `problems`.
    """
    layout = read_layout(path)
    names = tuple(classes or layout.classes())
    places = [images] if images is not None and subset is None else layout.places(subset, images=images)
    folders, lacking = images_by_folder(places, base=layout.base)
    for listing, lines in lacking.items():
        if lines:
            message = f"{len(lines)} of its lines name no image that is there, the first is {lines[0]}"
            problems.add(Kind.NO_IMAGE, listing, message)
    if not folders:
        raise InputError(f"{places[0]}: no images in this folder or those in it")
    labels = {folder: find_labels(folder) for folder in folders}
    for folder, found in labels.items():
        report_labels(found, folder, problems)
    if not any(file.stem in labels[folder].files for folder, files in folders.items() for file in files):
        problems.warn(places[0], "no image has a text file of labels")
    builder = AnnotationBuilder(names, root=_root(layout.folder, folders))
    for name, files in _videos(places, folders, problems):
        builder.video(name)
        for number, image in files.items():
            file = Path(image)
            _read_frame(builder, number, file, labels[file.parent].files.get(file.stem), problems)
    return builder.build()


def yolo_subsets(path: Path) -> list[str]:
    """Which of "train", "val" and "test" there are: as keys of data.yaml, or as folders of images."""
    return read_layout(path).subsets()


def _root(folder: Path, folders: Mapping[Path, object]) -> Path:
    """The data set's folder, or one above it that has all images."""
    return folder if all(f.is_relative_to(folder) for f in folders) else Path(os.path.commonpath(folders))


def _videos(
    places: Sequence[Path], folders: Mapping[Path, Sequence[Path]], problems: Problems
) -> Iterator[tuple[str, dict[int, str]]]:
    """Name and numbered images of each video."""
    for folder, name in _folder_names(places, list(folders)).items():
        for clip, files in _clips(folders[folder]).items():
            try:
                matched = number_files([str(file) for file in files], where=folder)
            except InputError as error:
                problems.add(Kind.DUPLICATE_FRAME, folder, error.without(folder))
            else:
                named = "/".join(part for part in (name, clip) if part) or absolute(places[0]).name
                problems.note(f"video {named!r}", matched.how)
                yield named, matched.files


def _folder_names(places: Sequence[Path], folders: Sequence[Path]) -> dict[Path, str]:
    """What the videos of each folder are called; several places differ by what is not `images`."""
    if len(places) == 1 and places[0].is_dir():
        top = absolute(places[0])
        return {folder: "/".join(folder.relative_to(top).parts) for folder in folders}
    top = Path(os.path.commonpath(folders))
    names = {folder: folder.relative_to(top).parts or (top.name,) for folder in folders}
    short = {folder: tuple(part for part in parts if part != "images") for folder, parts in names.items()}
    chosen = short if len(set(short.values())) == len(short) else names
    return {folder: "/".join(parts) for folder, parts in chosen.items()}


def _clips(files: Sequence[Path]) -> dict[str, Sequence[Path]]:
    """The images of a folder by the clip that their names tell of; "" where the folder is the clip."""
    clips: dict[str, list[Path]] = {}
    for file in files:
        clips.setdefault(parse_name(file).clip, []).append(file)
    if len(clips) > 1 and any(len(clip) > 1 for clip in clips.values()):
        return {clip or "unnamed": images for clip, images in clips.items()}
    named = len(clips) == 1 and is_video_frame(files[0])
    return {next(iter(clips)) if named else "": files}


def _read_frame(
    builder: AnnotationBuilder, number: int, file: Path, labels: Path | None, problems: Problems
) -> None:
    try:
        size = image_size(file)
    except InputError as error:
        problems.add(Kind.BAD_IMAGE, file, error.without(file))
        return
    builder.frame(number, file=file.relative_to(builder.root).as_posix(), width=size[0], height=size[1])
    if labels is None:
        return
    try:
        lines = read_text(labels).splitlines()
    except InputError as error:
        problems.add(Kind.UNREADABLE, labels, error.without(labels))
        return
    for row, line in enumerate(lines, 1):
        if line.strip():
            _read_line(builder, line.split(), size, f"{labels}, line {row}", problems)


def _read_line(
    builder: AnnotationBuilder, values: Sequence[str], size: tuple[int, int], where: str, problems: Problems
) -> None:
    if len(values) > 6:
        message = f"expected 5 or 6 numbers, got {len(values)}, as for polygons, turned boxes or keypoints"
        problems.add(Kind.BAD_ROW, where, f"{message}; export the labels as boxes")
        return
    numbers = [float(value) if _NUMBER.fullmatch(value) else math.nan for value in values]
    if len(values) < 5 or not all(map(math.isfinite, numbers)) or not all(map(_is_whole, numbers[::5])):
        expected = "expected class, cx, cy, width, height and perhaps a track id"
        problems.add(Kind.BAD_ROW, where, f"{expected}, got {shown(' '.join(values))}")
        return
    label, x, y, width, height = numbers[:5]
    last = len(builder.classes) - 1
    if not 0 <= label <= last:
        problems.add(Kind.UNKNOWN_CLASS, where, f"expected a class from 0 to {last}, got {values[0]}")
    elif not (width > 0 and height > 0):
        message = f"expected a width and a height above 0, got {width:g} and {height:g}"
        problems.add(Kind.INVERTED, where, message)
    elif not all(-1 <= number <= 2 for number in (x, y, width, height)):
        message = "expected fractions of the image's width and height"
        problems.add(Kind.BAD_ROW, where, f"{message}, got {' '.join(values[1:5])}")
    else:
        w, h = size
        corners = ((x - width / 2) * w, (y - height / 2) * h, (x + width / 2) * w, (y + height / 2) * h)
        builder.box(*corners, label=int(label), track=int(numbers[5]) if len(values) == 6 else NO_TRACK)


def _is_whole(number: float) -> bool:
    return number.is_integer() and -1 <= number < LARGEST_EXACT
