"""Find the videos and still images of a data set in the layout of ILSVRC 2015.

Each frame has an XML file `ROOT/Annotations/VID/train/.../000000.xml` and an image
`ROOT/Data/VID/train/.../000000.JPEG`. Still images are in `DET` instead of `VID`. If there are lists in
`ROOT/ImageSets`, they choose the frames.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from megavid.core.errors import InputError
from megavid.datasets.formats.ilsvrc.ilsvrc_lists import (
    LISTS,
    VideoEntry,
    key_frames,
    read_still_list,
    read_train_list,
    read_val_list,
)
from megavid.datasets.table.problems import Kind, Problems

SUBSETS = {"vid_train": "VID/train", "vid_val": "VID/val", "det_train": "DET/train"}
"""Names of the subsets, and their folders."""


def is_ilsvrc(path: Path) -> bool:
    """Return whether a folder, or the folder ILSVRC2015 in it, has this layout."""
    return any(map(_has_layout, _possible_roots(path)))


def find_root(path: Path) -> Path:
    """Return the folder with `Annotations`, `Data` and `ImageSets`.

    Raises:
        InputError: Neither `path` nor the folder ILSVRC2015 in it has this layout.
    """
    for root in _possible_roots(path):
        if _has_layout(root):
            return root
    raise InputError(f"{path}: expected the folders Annotations/VID or Annotations/DET in it")


def subsets(root: Path) -> tuple[str, ...]:
    """Return the names of the subsets that `root` contains."""
    return tuple(name for name, folder in SUBSETS.items() if (root / "Annotations" / folder).is_dir())


def find_list(root: Path, subset: str) -> Path | None:
    """Return the file that lists the frames of a subset; None if there is none."""
    folders = (root / "ImageSets", root / "ImageSets" / SUBSETS[subset].split("/")[0])
    return next((folder / LISTS[subset] for folder in folders if (folder / LISTS[subset]).is_file()), None)


def list_videos(root: Path, subset: str, *, problems: Problems) -> list[VideoEntry]:
    """List the videos and still images of a subset, from its list or else from its folders.

    Without a list, videos and images are sorted by name, and `key_frames` chooses the frames to train on in
    each video of `vid_train`.

    Raises:
        InputError: The subset or its list is missing or broken; or see `problems`.
    """
    folder = SUBSETS.get(subset)
    if folder is None:
        raise InputError(f"subset: expected one of {', '.join(SUBSETS)}, got {subset!r}")
    annotations = root / "Annotations" / folder
    if not annotations.is_dir():
        raise InputError(f"{annotations}: no such folder")
    path = find_list(root, subset)
    if path is not None:
        readers = {"vid_train": read_train_list, "vid_val": read_val_list, "det_train": read_still_list}
        return readers[subset](path, problems=problems)
    kind, split = folder.split("/")
    if kind == "DET":
        stems = sorted(file for parent, files in _xml_files(annotations) for file in _joined(parent, files))
        return [VideoEntry(f"{split}/{stem}", (), in_list=False) for stem in stems]
    entries = []
    for parent, files in sorted(_xml_files(annotations)):
        numbers = _frame_numbers(annotations / parent, files, problems)
        if numbers:
            listed = None if subset == "vid_val" else frozenset(numbers[i] for i in key_frames(len(numbers)))
            entries.append(VideoEntry(f"{split}/{parent}" if parent else split, numbers, listed))
    return entries


def _possible_roots(path: Path) -> tuple[Path, Path]:
    return path, path / "ILSVRC2015"


def _has_layout(root: Path) -> bool:
    return any((root / "Annotations" / name).is_dir() for name in ("VID", "DET"))


def _xml_files(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield the relative path of each folder in `folder` that has XML files, and the stems of these files."""
    for parent, _, files in os.walk(folder):
        stems = [file[:-4] for file in files if file.endswith(".xml")]
        if stems:
            relative = os.path.relpath(parent, folder)
            yield "" if relative == "." else relative.replace(os.sep, "/"), stems


def _joined(parent: str, stems: Iterable[str]) -> list[str]:
    return [f"{parent}/{stem}" if parent else stem for stem in stems]


def _frame_numbers(folder: Path, stems: Iterable[str], problems: Problems) -> tuple[int, ...]:
    """Return the frame numbers of a video's XML files, in ascending order."""
    numbers = []
    for stem in sorted(stems):
        if stem.isdecimal() and stem == f"{int(stem):06d}":
            numbers.append(int(stem))
        else:
            message = "expected a frame's number of six digits as its name, such as 000000.xml"
            problems.add(Kind.UNREADABLE, folder / f"{stem}.xml", message)
    return tuple(sorted(numbers))
