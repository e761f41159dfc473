"""Which text files of YOLO's have the labels of the images in a folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from megavid.core.errors import InputError
from megavid.core.files.paths import is_folder
from megavid.datasets.table.problems import Kind, Problems
from megavid.video.suffixes import is_image_name


@dataclass(frozen=True)
class LabelFiles:
    """The text files for a folder of images.

    Attributes:
        files: The file by its name without suffix, which is the image's.
        lacking: Files in `labels` whose image is not in the folder.
        useless: Whether these are all that are in `labels`.
    """

    files: Mapping[str, Path]
    lacking: Sequence[Path]
    useless: bool


def find_labels(folder: Path) -> LabelFiles:
    """Find the text files for a folder of images.

    They are in `labels` (also `Labels`), in the place that the folder has in `images`; else
    beside the images.

    Raises:
        InputError: A folder cannot be read.
    """
    files: dict[str, Path] = {}
    for labels in _label_folders(folder):
        for file in _text_files(labels):
            files.setdefault(file.stem, file)
    apart = {stem: file for stem, file in files.items() if stem not in _NO_LABELS}
    there = {path.stem for path in _listed(folder) if is_image_name(path)} if apart else set()
    lacking = sorted(file for stem, file in apart.items() if stem not in there)
    for file in _text_files(folder):
        files.setdefault(file.stem, file)
    return LabelFiles(files, lacking, useless=len(lacking) == len(apart))


def report_labels(labels: LabelFiles, folder: Path, problems: Problems) -> None:
    """Say which text files belong to no image of a folder; a problem where none does."""
    if not labels.lacking:
        return
    count, first = len(labels.lacking), labels.lacking[0]
    if labels.useless:
        message = f"{count} text files belong to no image, and no image in {folder} has one"
        problems.add(Kind.NO_FRAME, first, message)
    else:
        problems.warn(first.parent, f"{count} text files belong to no image, the first is {first.name}")


_NO_LABELS = ("classes", "labels", "notes")
"""What label tools call other text files."""


def _label_folders(folder: Path) -> Iterator[Path]:
    parts = folder.parts
    for place in reversed(range(len(parts))):
        if parts[place].lower() == "images":
            top = Path(*parts[:place])
            for name in ("labels", "Labels", "LABELS"):
                labels = Path(top, name, *parts[place + 1 :])
                if is_folder(labels):
                    yield labels


def _text_files(folder: Path) -> Iterator[Path]:
    for path in _listed(folder):
        if path.suffix.lower() == ".txt" and not path.name.startswith("."):
            yield path


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder}: cannot be read: {error.strerror}") from error
