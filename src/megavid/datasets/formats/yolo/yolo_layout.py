"""Where a YOLO data set has its classes and images: data.yaml, classes.txt, and the usual folders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from megavid.core.errors import InputError
from megavid.core.files.json_yaml import read_yaml
from megavid.core.files.paths import is_file, is_folder
from megavid.core.files.regular_files import read_text
from megavid.datasets.formats.class_names import check_class_count, class_name, read_class_names
from megavid.datasets.formats.json_values import shown
from megavid.datasets.formats.yolo.yolo_paths import absolute, find_images
from megavid.video.suffixes import image_files, is_image_name

SUBSETS = ("train", "val", "test")
"""The parts that a data set usually has."""

CLASS_FILES = ("classes.txt", "obj.names", "labels/classes.txt")
"""Files with the name of a class in each line, as label tools write them."""

_OTHER_NAMES = {"val": ("valid", "validation"), "valid": ("val",), "validation": ("val",)}
"""What tools call the same part."""


@dataclass(frozen=True)
class YoloLayout:
    """A folder, and the data.yaml that describes it.

    Attributes:
        folder: The folder that has data.yaml, or that is the data set.
        file: The data.yaml; None where there is none.
        content: Its content.
    """

    folder: Path
    file: Path | None
    content: Mapping[str, Any]

    @property
    def origin(self) -> Path:
        """The file, else the folder, for messages."""
        return self.file or self.folder

    @cached_property
    def base(self) -> Path:
        """The folder that paths in data.yaml start from: its key `path`, else its own.

        Data sets are moved: if there is no such folder, it is data.yaml's own.
        """
        path = self.content.get("path")
        if path is not None and not isinstance(path, str):
            raise InputError(f"{self.origin}: path: expected a folder, got {shown(path)}")
        named = self.folder / (path or "")
        return named if is_folder(named) else self.folder

    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their numbers.

        Raises:
            InputError: Nothing names them, or their number is not `nc`.
        """
        names = self.content.get("names")
        if names is None:
            return self._listed_classes()
        if isinstance(names, dict):
            numbers = {int(key): key for key in names if str(key).isdecimal()}
            if len(numbers) < len(names) or sorted(numbers) != list(range(len(names))):
                raise InputError(f"{self.origin}: names: expected the numbers 0 to {len(names) - 1}")
            names = [names[numbers[i]] for i in range(len(names))]
        if not isinstance(names, list):
            raise InputError(f"{self.origin}: names: expected a list of names, got {shown(names)}")
        count = self.content.get("nc", len(names))
        if count != len(names):
            message = f"expected {len(names)}, the number of names, got {shown(count)}"
            raise InputError(f"{self.origin}: nc: {message}")
        return _checked_names(names, origin=f"{self.origin}: names")

    def _listed_classes(self) -> tuple[str, ...]:
        listing = next((file for name in CLASS_FILES if is_file(file := self.folder / name)), None)
        if listing is not None:
            return read_class_names(listing)
        others = sorted(path.name for path in self.folder.glob("*.y*ml") if path != self.file)
        hint = f"; if it is {others[0]}, give that file" if others and self.file is None else ""
        raise InputError(
            f"{self.origin}: expected data.yaml with names, or classes.txt, or the classes named{hint}"
        )

    def subsets(self) -> list[str]:
        """Which of `SUBSETS` there are; one that has the same images as one before is none."""
        found: dict[str, list[Path]] = {}
        for name in SUBSETS:
            with suppress(InputError):
                places = self.places(name)
                if places not in found.values():
                    found[name] = places
        return list(found)

    def places(self, subset: str | None, *, images: Path | None = None) -> list[Path]:
        """Folders of images and lists of images, of a subset or of all.

        All are those that data.yaml names, where it names any; else the folder itself.

        Args:
            subset: A key of data.yaml or the name of a folder; None for all.
            images: The folder to look in for the subset's, instead.

        Raises:
            InputError: There is none.
        """
        if images is not None and subset is not None:
            return self._subset_folder(subset, images)
        if subset is not None:
            return self._subset(subset)
        if all(self._key(name) is None for name in SUBSETS):
            return [self.top]
        places: list[Path] = []
        for name in SUBSETS:
            try:
                places += self._subset(name)
            except InputError:
                if name == "train" and self._key(name):  # whole data sets often come without the others
                    raise
        return list(dict.fromkeys(places)) or [self.top]

    @property
    def top(self) -> Path:
        """The folder of all images."""
        images = self.base / "images"
        return images if is_folder(images) else self.base

    def _key(self, subset: str) -> str | None:
        """The key of data.yaml that names a subset."""
        keys = (subset, *_OTHER_NAMES.get(subset, ()))
        return next((key for key in keys if self.content.get(key) not in (None, "", [])), None)

    def _subset(self, subset: str) -> list[Path]:
        key = self._key(subset)
        if key is not None:
            entries = self.content[key]
            entries = entries if isinstance(entries, list) else [entries]
            return [self._entry(key, entry) for entry in entries]
        return self._subset_folder(subset, self.top)

    def _subset_folder(self, subset: str, images: Path) -> list[Path]:
        names = (subset, *_OTHER_NAMES.get(subset, ()))
        folders = [images / name for name in names]
        folders += [self.base / name / "images" for name in names] + [self.base / name for name in names]
        for folder in folders:
            if is_folder(folder):
                return [folder]
        places = f"{folders[0]} or {self.base / subset / 'images'}"
        raise InputError(f"subset: expected a folder {places}, or data.yaml to name one under {subset!r}")

    def _entry(self, key: str, entry: object) -> Path:
        """The folder or list that an entry of data.yaml names.

        Roboflow writes `../train/images` for what is beside data.yaml.
        """
        if not isinstance(entry, str) or "\0" in entry:
            raise InputError(
                f"{self.origin}: {key}: expected a folder, a list of images, or several, got {shown(entry)}"
            )
        wanted = [self.base / entry]
        if entry.startswith("../"):
            wanted.append(self.base / entry.removeprefix("../"))
        there = {path.resolve(): path for path in wanted if is_folder(path) or is_file(path)}
        if len(there) > 1:
            both = " and ".join(map(str, there))
            raise InputError(f"{self.origin}: {key}: expected one place, got {entry}, which may be {both}")
        if not there:
            raise InputError(f"{self.origin}: {key}: expected a folder or a list of images, no {wanted[-1]}")
        return absolute(next(iter(there.values())))


def read_layout(path: Path) -> YoloLayout:
    """Read the data.yaml of a folder, or a file like it, if there is one.

    Raises:
        InputError: It cannot be read.
    """
    path = absolute(path)
    folder, file = (path, path / "data.yaml") if path.is_dir() else (path.parent, path)
    if not file.exists():
        return YoloLayout(folder, None, {})
    content = read_yaml(file)
    if not isinstance(content, dict):
        raise InputError(f"{file}: expected YAML with the key names")
    return YoloLayout(folder, file, content)


def images_by_folder(
    places: Iterable[Path], *, base: Path
) -> tuple[dict[Path, list[Path]], dict[Path, list[str]]]:
    """The images of folders, with those in them, and of lists, each once, by the folder that they lie in.

    Args:
        places: Folders, and text files with an image's path a line.
        base: What paths in lists may start from, beside the list's own folder.

    Returns:
        The images in natural order, and for each list the lines that name no image.

    Raises:
        InputError: A list cannot be read.
    """
    found: dict[Path, dict[Path, None]] = {}
    lacking: dict[Path, list[str]] = {}
    for place in places:
        files: Iterable[Path]
        if place.is_dir():
            files = find_images(absolute(place))
        else:
            files, lacking[place] = _read_list(place, base)
        for file in files:
            found.setdefault(file.parent, {})[file] = None
    return {folder: image_files(found[folder]) for folder in sorted(found)}, lacking


def _read_list(file: Path, base: Path) -> tuple[list[Path], list[str]]:
    """The images of a list, and the lines that name none."""
    files: list[Path] = []
    lacking: list[str] = []
    for line in read_text(file).splitlines():
        name = line.strip()
        if not name:
            continue
        is_image = is_image_name(name)
        image = next((p for p in (file.parent / name, base / name) if is_image and is_file(p)), None)
        if image is None:
            lacking.append(name)
        else:
            files.append(absolute(image.parent) / image.name)
    return files, lacking


def _checked_names(names: Sequence[object], *, origin: object) -> tuple[str, ...]:
    check_class_count(len(names), origin=origin)
    checked = []
    for name in names:
        text = class_name(name)
        if text is None:
            raise InputError(f"{origin}: expected text as the name of a class, in quotes, got {shown(name)}")
        checked.append(text)
    if len(set(checked)) < len(checked):
        twice = next(name for i, name in enumerate(checked) if name in checked[:i])
        raise InputError(f"{origin}: expected a name for each class, got {twice!r} twice")
    return tuple(checked)
