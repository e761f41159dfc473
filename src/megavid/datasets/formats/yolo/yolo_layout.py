"""Find the class names and images of a YOLO data set: data.yaml, classes.txt and the usual folders."""

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
"""The usual subsets of a data set."""

CLASS_FILES = ("classes.txt", "obj.names", "labels/classes.txt")
"""Files with one class name per line, as label tools write them."""

_OTHER_NAMES = {"val": ("valid", "validation"), "valid": ("val",), "validation": ("val",)}
"""Other names that some tools give to a subset."""


@dataclass(frozen=True)
class YoloLayout:
    """The folder of a YOLO data set, and its data.yaml.

    Attributes:
        folder: The data set's folder.
        file: The data.yaml; None if there is none.
        content: Content of data.yaml; empty if there is none.
    """

    folder: Path
    file: Path | None
    content: Mapping[str, Any]

    @property
    def origin(self) -> Path:
        """The data.yaml, or else the folder, for messages."""
        return self.file or self.folder

    @cached_property
    def base(self) -> Path:
        """The folder that paths in data.yaml are relative to.

        It is the folder under the key `path`. If there is no such folder, since the data set was moved, it is
        the folder of data.yaml.
        """
        path = self.content.get("path")
        if path is not None and not isinstance(path, str):
            raise InputError(f"{self.origin}: path: expected a folder, got {shown(path)}")
        named = self.folder / (path or "")
        return named if is_folder(named) else self.folder

    def classes(self) -> tuple[str, ...]:
        """Return the class names in the order of their numbers.

        Raises:
            InputError: The class names are unknown or invalid, or their count is not `nc`.
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
        """Return which of `SUBSETS` exist, without a subset that has the same images as an earlier one."""
        found: dict[str, list[Path]] = {}
        for name in SUBSETS:
            with suppress(InputError):
                places = self.places(name)
                if places not in found.values():
                    found[name] = places
        return list(found)

    def places(self, subset: str | None, *, images: Path | None = None) -> list[Path]:
        """Return the folders of a subset's images, and the text files that list its images.

        Without `subset`, these are all that data.yaml names, or else the folder of all images.

        Args:
            subset: A key of data.yaml or the name of a folder; None for all images.
            images: Folder that contains the folder of the subset; by default, the subset is searched for in
                data.yaml and in the usual folders.

        Raises:
            InputError: The subset does not exist.
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
                if name == "train" and self._key(name):  # val and test are often missing
                    raise
        return list(dict.fromkeys(places)) or [self.top]

    @property
    def top(self) -> Path:
        """The folder that contains all images."""
        images = self.base / "images"
        return images if is_folder(images) else self.base

    def _key(self, subset: str) -> str | None:
        """Return the key of data.yaml that names a subset; None if there is none."""
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
        """Return the folder or text file that an entry of data.yaml names.

        Roboflow writes `../train/images` for the folder `train/images` beside data.yaml.
        """
        if not isinstance(entry, str) or "\0" in entry:
            raise InputError(
                f"{self.origin}: {key}: expected a folder, a list of images, or several, got {shown(entry)}"
            )
        wanted = [self.base / entry]
        if entry.startswith("../"):
            wanted.append(self.base / entry.removeprefix("../"))
        found = {path.resolve(): path for path in wanted if is_folder(path) or is_file(path)}
        if len(found) > 1:
            both = " and ".join(map(str, found))
            raise InputError(f"{self.origin}: {key}: expected one place, got {entry}, which may be {both}")
        if not found:
            raise InputError(f"{self.origin}: {key}: expected a folder or a list of images, no {wanted[-1]}")
        return absolute(next(iter(found.values())))


def read_layout(path: Path) -> YoloLayout:
    """Read the data.yaml of a folder, or the given YAML file.

    Raises:
        InputError: The file cannot be read.
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
    """Collect the images in folders and in lists, and group them by their folders.

    Args:
        places: Folders, which are searched with their subfolders, and text files with an image path per line.
        base: Folder that paths in a text file are relative to if they are not relative to the text file's
            folder.

    Returns:
        The images of each folder in natural order, and the lines of each text file that name no image.

    Raises:
        InputError: A text file cannot be read.
    """
    found: dict[Path, dict[Path, None]] = {}
    missing: dict[Path, list[str]] = {}
    for place in places:
        files: Iterable[Path]
        if place.is_dir():
            files = find_images(absolute(place))
        else:
            files, missing[place] = _read_list(place, base)
        for file in files:
            found.setdefault(file.parent, {})[file] = None
    return {folder: image_files(found[folder]) for folder in sorted(found)}, missing


def _read_list(file: Path, base: Path) -> tuple[list[Path], list[str]]:
    """Return the images that a text file names, and the lines that name no image."""
    files: list[Path] = []
    missing: list[str] = []
    for line in read_text(file).splitlines():
        name = line.strip()
        if not name:
            continue
        is_image = is_image_name(name)
        image = next((p for p in (file.parent / name, base / name) if is_image and is_file(p)), None)
        if image is None:
            missing.append(name)
        else:
            files.append(absolute(image.parent) / image.name)
    return files, missing


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
        raise InputError(f"{origin}: expected a different name for each class, got {twice!r} twice")
    return tuple(checked)
