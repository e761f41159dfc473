"""Read YOLO's text files: one for each image, with the image's name and a line for each object.

A line is `class cx cy width height`, in fractions of the image's size, and optionally a track id.
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
from megavid.datasets.formats.yolo.yolo_labels import LabelFiles, find_labels, report_labels
from megavid.datasets.formats.yolo.yolo_layout import CLASS_FILES, images_by_folder, read_layout
from megavid.datasets.formats.yolo.yolo_paths import absolute
from megavid.datasets.frame_names import is_video_frame, parse_name
from megavid.datasets.match_frames import number_files
from megavid.datasets.table.annotations import NO_TRACK, AnnotationBuilder, Annotations
from megavid.datasets.table.problems import Kind, Problems
from megavid.video.images import image_size

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def is_yolo(path: Path) -> bool:
    """Return whether a path is a YAML file, or a folder with data.yaml, `labels` or a file of class names."""
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

    If data.yaml names images under `train`, `val` or `test`, only these images are read. Each key names a
    folder, a text file with an image path per line, or a list of folders and text files. Paths are relative
    to the folder under the key `path`, or else to the folder of data.yaml.

    The images in a folder are a video. If their names differ in more than their numbers (`cat_001.jpg`,
    `dog_001.jpg`), the images whose names differ only in their numbers are a video. Frames have the numbers
    in the names of their images, or are counted from 0 if no name has a number. Images without a text file
    have no objects.

    Args:
        path: The folder, or its data.yaml.
        images: Folder of the images if it is not called `images`. See `find_labels` for the places of text
            files.
        subset: A key of data.yaml ("val"), or the name of a folder in `images`; None for all.
        classes: Class names in the order of their numbers; None for those in data.yaml, classes.txt (also in
            `labels`) or obj.names.
        problems: Collects invalid images and lines.

    Raises:
        InputError: There are no images, or the class names are unknown; or see `problems`.
    """
    layout = read_layout(path)
    names = tuple(classes or layout.classes())
    places = [images] if images is not None and subset is None else layout.places(subset, images=images)
    folders = _find_images(places, layout.base, problems)
    labels = _find_labels(folders, places[0], problems)
    builder = AnnotationBuilder(names, root=_root(layout.folder, folders))
    for name, files in _videos(places, folders, problems):
        builder.video(name)
        for number, image in files.items():
            _read_frame(builder, number, Path(image), labels, problems)
    return builder.build()


def yolo_subsets(path: Path) -> list[str]:
    """Return which of "train", "val" and "test" exist, as keys of data.yaml or as folders of images."""
    return read_layout(path).subsets()


def _find_images(places: Sequence[Path], base: Path, problems: Problems) -> dict[Path, list[Path]]:
    """Return the images of each folder, and report lines in text files that name no existing image."""
    folders, missing = images_by_folder(places, base=base)
    for listing, lines in missing.items():
        if lines:
            message = f"{len(lines)} of its lines name no existing image, the first is {lines[0]}"
            problems.add(Kind.NO_IMAGE, listing, message)
    if not folders:
        raise InputError(f"{places[0]}: no images in this folder or its subfolders")
    return folders


def _find_labels(
    folders: Mapping[Path, Sequence[Path]], place: Path, problems: Problems
) -> dict[Path, LabelFiles]:
    """Return the text files for each folder of images, and report text files that belong to no image."""
    labels = {folder: find_labels(folder) for folder in folders}
    for folder, found in labels.items():
        report_labels(found, folder, problems)
    if not any(file.stem in labels[folder].files for folder, files in folders.items() for file in files):
        problems.warn(place, "no image has a text file of labels")
    return labels


def _root(folder: Path, folders: Mapping[Path, object]) -> Path:
    """Return the data set's folder, or a parent that contains all images."""
    return folder if all(f.is_relative_to(folder) for f in folders) else Path(os.path.commonpath(folders))


def _videos(
    places: Sequence[Path], folders: Mapping[Path, Sequence[Path]], problems: Problems
) -> Iterator[tuple[str, dict[int, str]]]:
    """Yield the name of each video, and its images by frame number."""
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
    """Choose the name of each folder's video; the part `images` is left out if names then stay unique."""
    if len(places) == 1 and places[0].is_dir():
        top = absolute(places[0])
        return {folder: "/".join(folder.relative_to(top).parts) for folder in folders}
    top = Path(os.path.commonpath(folders))
    names = {folder: folder.relative_to(top).parts or (top.name,) for folder in folders}
    short = {folder: tuple(part for part in parts if part != "images") for folder, parts in names.items()}
    chosen = short if len(set(short.values())) == len(short) else names
    return {folder: "/".join(parts) for folder, parts in chosen.items()}


def _clips(files: Sequence[Path]) -> dict[str, Sequence[Path]]:
    """Group the images of a folder into videos by the clip in their names.

    If they are one video, its key is "", or the name of the clip if Roboflow extracted its frames.
    """
    clips: dict[str, list[Path]] = {}
    for file in files:
        clips.setdefault(parse_name(file).clip, []).append(file)
    if len(clips) > 1 and any(len(clip) > 1 for clip in clips.values()):
        return {clip or "unnamed": images for clip, images in clips.items()}
    named = len(clips) == 1 and is_video_frame(files[0])
    return {next(iter(clips)) if named else "": files}


def _read_frame(
    builder: AnnotationBuilder,
    number: int,
    file: Path,
    labels: Mapping[Path, LabelFiles],
    problems: Problems,
) -> None:
    try:
        size = image_size(file)
    except InputError as error:
        problems.add(Kind.BAD_IMAGE, file, error.without(file))
        return
    builder.frame(number, file=file.relative_to(builder.root).as_posix(), width=size[0], height=size[1])
    text_file = labels[file.parent].files.get(file.stem)
    if text_file is None:
        return
    try:
        lines = read_text(text_file).splitlines()
    except InputError as error:
        problems.add(Kind.UNREADABLE, text_file, error.without(text_file))
        return
    for row, line in enumerate(lines, 1):
        if line.strip():
            _read_line(builder, line.split(), size, f"{text_file}, line {row}", problems)


def _read_line(
    builder: AnnotationBuilder, values: Sequence[str], size: tuple[int, int], where: str, problems: Problems
) -> None:
    if len(values) > 6:
        message = f"expected 5 or 6 numbers, got {len(values)}, as for polygons, rotated boxes or keypoints"
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
