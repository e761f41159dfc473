"""YOLO's text files: an image and a `.txt` of the same name, a line an object.

`class cx cy width height`, in fractions of the image's size; after them a track's id, where there are tracks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from megavid.core.annotations import NO_TRACK, AnnotationBuilder, Annotations
from megavid.core.errors import InputError
from megavid.core.files import atomic_path
from megavid.core.images import image_files
from megavid.core.problems import Kind, Problems

_NUMBERED = re.compile(r"(.*?)[_\-. ]?(\d+)")


def is_yolo(path: Path) -> bool:
    """Whether it is a data.yaml with `names`, or a folder with one or with `labels`."""
    if path.is_dir():
        return any((path / name).exists() for name in ("data.yaml", "labels", "classes.txt"))
    return path.suffix in {".yaml", ".yml"} and path.is_file()


def read_yolo(
    path: Path,
    *,
    images: Path | None = None,
    subset: str | None = None,
    classes: Sequence[str] | None = None,
    problems: Problems,
) -> Annotations:
    """Read a folder with `images` and `labels`, or with images and text files side by side.

    A folder of images is a video. Images that lie in one folder but have several names before their numbers
    (`cat_001.jpg`, `dog_001.jpg`) are a video for each name. Numbers are the frames' own where all have some
    that differ, else they count from 0. An image without a text file has no objects.

    Args:
        path: The folder, or its data.yaml.
        images: The folder of images, if it is not `images`; text files are beside it in `labels`, or in it.
        subset: The folder in `images` to read, or the key of data.yaml that names it ("val"); None for all.
        classes: Names in the order of their numbers; None for those of data.yaml or classes.txt.
        problems: Where images and lines go that make no sense.

    Raises:
        InputError: The folder has no images, or nothing names the classes; or see `problems`.
    """
    folder = path if path.is_dir() else path.parent
    about = _about(folder / "data.yaml" if path.is_dir() else path)
    names = tuple(classes or _names(folder, about))
    top = images or _subset_folder(folder, about, subset)
    root = folder.absolute()
    top = top.absolute()
    builder = AnnotationBuilder(names, root=root if top.is_relative_to(root) else top)
    videos = list(_videos(top))
    if not videos:
        raise InputError(f"{top}: no images in this folder or those in it")
    for name, frames in videos:
        builder.video(name)
        for number, file in frames:
            _read_frame(builder, number, file, problems)
    return builder.build()


def yolo_subsets(path: Path) -> list[str]:
    """Which of "train", "val" and "test" there are: as keys of data.yaml, or as folders of images."""
    folder = path if path.is_dir() else path.parent
    about = _about(folder / "data.yaml" if path.is_dir() else path)
    names = []
    for name in ("train", "val", "test"):
        with suppress(InputError):
            _subset_folder(folder, about, name)
            names.append(name)
    return names


def write_yolo(annotations: Annotations, folder: Path, *, tracks: bool = False) -> None:
    """Write `labels/*.txt`, `images.txt` (the absolute paths of the images) and `data.yaml`; images stay.

    Args:
        annotations: The data set; its frames are image files.
        folder: Made if missing.
        tracks: Each object's track as a sixth number, which not every reader takes.

    Raises:
        InputError: Frames are in video files, or a file cannot be read or written.
    """
    a = annotations
    lines: list[list[str]] = [[] for _ in range(len(a))]
    sizes = [_size(a, frame) for frame in range(len(a))]
    frames = a.box_frames
    scale = np.array(sizes, np.float64).reshape(-1, 2)[frames]
    corners = a.boxes.astype(np.float64)
    centres, sides = (corners[:, :2] + corners[:, 2:]) / 2 / scale, (corners[:, 2:] - corners[:, :2]) / scale
    for frame, label, track, centre, side in zip(
        frames.tolist(), a.labels.tolist(), a.tracks.tolist(), centres.tolist(), sides.tolist(), strict=True
    ):
        numbers = " ".join(f"{value:.9g}" for value in (*centre, *side))
        lines[frame].append(f"{label} {numbers}" + (f" {track}" if tracks and track != NO_TRACK else ""))
    files = a.files.to_pylist()
    for file, rows in zip(files, lines, strict=True):
        target = (folder / "labels" / file).with_suffix(".txt")
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(target) as aside:
            aside.write_text("".join(f"{row}\n" for row in rows))
    about = {"path": str(a.root), "names": dict(enumerate(a.classes))}
    for name, text in (
        ("images.txt", "".join(f"{a.root / file}\n" for file in files)),
        ("data.yaml", yaml.safe_dump(about, allow_unicode=True, sort_keys=False)),
    ):
        with atomic_path(folder / name) as aside:
            aside.write_text(text)


def _size(a: Annotations, frame: int) -> tuple[int, int]:
    """Width and height."""
    if a.files[frame].as_py() is None:
        raise InputError(f"{a.describe(frame)}: YOLO's format takes image files, not frames of a video file")
    if a.width[frame] and a.height[frame]:
        return int(a.width[frame]), int(a.height[frame])
    size = _image_size(Path(a.describe(frame)))
    if isinstance(size, str):
        raise InputError(f"{a.describe(frame)}: {size}")
    return size


def _image_size(path: Path) -> tuple[int, int] | str:
    """Width and height, or why there are none."""
    try:
        with Image.open(path) as image:
            return image.size
    except Exception as error:  # Pillow's readers raise whatever they run into
        return f"expected an image: {' '.join(str(error).split())}"


def _about(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        about = yaml.safe_load(path.read_text("utf-8-sig"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path}: expected YAML: {' '.join(str(error).split())}") from error
    if not isinstance(about, dict):
        raise InputError(f"{path}: expected YAML with the key names")
    return about


def _names(folder: Path, about: Mapping[str, Any]) -> list[str]:
    names = about.get("names")
    if isinstance(names, dict):
        if sorted(names) != list(range(len(names))):
            raise InputError(f"{folder / 'data.yaml'}: names: expected the numbers 0 to {len(names) - 1}")
        return [str(names[i]) for i in range(len(names))]
    if isinstance(names, list):
        return [str(name) for name in names]
    listing = folder / "classes.txt"
    if listing.exists():
        try:
            lines = listing.read_text("utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{listing}: cannot be read: {error}") from error
        return [line.strip() for line in lines if line.strip()]
    raise InputError(f"{folder}: expected data.yaml with names, or classes.txt, or the classes named")


def _subset_folder(folder: Path, about: Mapping[str, Any], subset: str | None) -> Path:
    top = folder / "images" if (folder / "images").is_dir() else folder
    if subset is None:
        return top
    base = folder / str(about.get("path", ""))
    named = base / str(about[subset]) if isinstance(about.get(subset), str) else top / subset
    for candidate in (named, top / subset):
        if candidate.is_dir():
            return candidate
    raise InputError(f"subset: expected a folder {top / subset}, or data.yaml to name one under {subset!r}")


def _videos(top: Path) -> Iterator[tuple[str, list[tuple[int, Path]]]]:
    """Name and numbered frames of each video in a folder and those in it."""
    folders = [top, *sorted(path for path in top.rglob("*") if path.is_dir())]
    for folder in folders:
        groups: dict[str, list[Path]] = {}
        files = image_files(folder.iterdir())
        for file in files:
            match = _NUMBERED.fullmatch(file.stem)
            groups.setdefault(match[1] if match else "", []).append(file)
        if len(groups) > 1 and any(len(group) > 1 for group in groups.values()):
            named = [((folder / (name or "unnamed")), group) for name, group in groups.items()]
        else:
            named = [(folder, files)] if files else []
        for path, group in named:
            name = path.relative_to(top).as_posix()
            yield (top.name if name == "." else name), _numbered(group)


def _numbered(files: Sequence[Path]) -> list[tuple[int, Path]]:
    matches = [_NUMBERED.fullmatch(file.stem) for file in files]
    numbers = [int(match[2]) for match in matches if match]
    if len(set(numbers)) == len(files):
        return sorted(zip(numbers, files, strict=True))
    return list(enumerate(files))


def _read_frame(builder: AnnotationBuilder, number: int, file: Path, problems: Problems) -> None:
    size = _image_size(file)
    if isinstance(size, str):
        problems.add(Kind.BAD_IMAGE, file, size)
        return
    width, height = size
    builder.frame(number, file=file.relative_to(builder.root).as_posix(), width=width, height=height)
    labels = _labels_file(file)
    if labels is None:
        return
    try:
        lines = labels.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        problems.add(Kind.UNREADABLE, labels, f"cannot be read: {error}")
        return
    for row, line in enumerate(lines, 1):
        if line.strip():
            _read_line(builder, line.split(), (width, height), f"{labels}, line {row}", problems)


def _labels_file(file: Path) -> Path | None:
    """The text file of an image: beside it, or in `labels` where the image is in `images`."""
    parts = list(file.with_suffix(".txt").parts)
    for place in reversed(range(len(parts) - 1)):
        if parts[place] == "images":
            other = Path(*parts[:place], "labels", *parts[place + 1 :])
            if other.exists():
                return other
    beside = file.with_suffix(".txt")
    return beside if beside.exists() else None


def _read_line(
    builder: AnnotationBuilder, values: Sequence[str], size: tuple[int, int], where: str, problems: Problems
) -> None:
    try:
        label, track = int(values[0]), int(values[5]) if len(values) == 6 else NO_TRACK
        x, y, width, height = (float(value) for value in values[1:5])
        if len(values) not in {5, 6}:
            raise ValueError
    except (ValueError, IndexError):
        expected = "expected class, cx, cy, width, height and perhaps a track id"
        problems.add(Kind.BAD_ROW, where, f"{expected}, got {' '.join(values)!r}")
        return
    if not 0 <= label < len(builder.classes):
        problems.add(
            Kind.UNKNOWN_CLASS, where, f"expected a class from 0 to {len(builder.classes) - 1}, got {label}"
        )
    elif not (width > 0 and height > 0):
        problems.add(
            Kind.INVERTED, where, f"expected a width and a height above 0, got {width:g} and {height:g}"
        )
    else:
        w, h = size
        corners = ((x - width / 2) * w, (y - height / 2) * h, (x + width / 2) * w, (y + height / 2) * h)
        builder.box(*corners, label=label, track=track)
