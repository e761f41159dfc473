"""Find the text files with the labels of the images in a folder."""

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
        files: Each text file by its name without suffix, which equals that of its image.
        orphans: Text files in the folder `labels` that belong to no image.
        only_orphans: Whether none of the text files in the folder `labels` belongs to an image.
    """

    files: Mapping[str, Path]
    orphans: Sequence[Path]
    only_orphans: bool


def find_labels(folder: Path) -> LabelFiles:
    """Find the text files for a folder of images.

    The text files of `images/FOLDER` are in `labels/FOLDER` (also `Labels` or `LABELS`), or else beside the
    images.

    Raises:
        InputError: A folder cannot be read.
    """
    files: dict[str, Path] = {}
    for labels in _label_folders(folder):
        for file in _text_files(labels):
            files.setdefault(file.stem, file)
    separate = {stem: file for stem, file in files.items() if stem not in _NOT_LABELS}
    images = {path.stem for path in _listed(folder) if is_image_name(path)} if separate else set()
    orphans = sorted(file for stem, file in separate.items() if stem not in images)
    for file in _text_files(folder):
        files.setdefault(file.stem, file)
    return LabelFiles(files, orphans, only_orphans=len(orphans) == len(separate))


def report_labels(labels: LabelFiles, folder: Path, problems: Problems) -> None:
    """Report text files that belong to no image: a problem if none belongs to an image, else a warning."""
    if not labels.orphans:
        return
    count, first = len(labels.orphans), labels.orphans[0]
    if labels.only_orphans:
        message = f"{count} text files belong to no image, and no image in {folder} has one"
        problems.add(Kind.NO_FRAME, first, message)
    else:
        problems.warn(first.parent, f"{count} text files belong to no image, the first is {first.name}")


_NOT_LABELS = ("classes", "labels", "notes")
"""Names, without suffix, of text files that label tools write but that have no labels."""


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
