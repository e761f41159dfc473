"""Choose names for the videos in CVAT's exports, and find the video files or images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from megavid.core.errors import InputError
from megavid.datasets.find_media import Media, base_name, describe_missing, find_media, find_only_video
from megavid.datasets.formats.cvat.cvat_file import Export
from megavid.datasets.formats.cvat.cvat_tasks import Task


@dataclass(frozen=True, kw_only=True)
class CvatVideo:
    """A task and the video that it annotates.

    Attributes:
        name: Name of the video in the data set.
        export: The exported file that contains the task.
        task: The task.
        media: The video file or images; empty if none were found.
        missing: Message about what was searched for if nothing was found; otherwise "".
    """

    name: str
    export: Export
    task: Task
    media: Media
    missing: str


def find_videos(exports: Sequence[Export], path: Path, images: Path | None) -> list[CvatVideo]:
    """Choose the name of each task's video, and find its video file or images.

    Args:
        exports: The contents of the exported files.
        path: The file or folder that the exports were read from.
        images: Folder that contains the video files or the folders of images; by default, the folder of each
            exported file.

    Raises:
        InputError: A task is in two files, two videos have the same name, or several video files match one
            task.
    """
    top = path if path.is_dir() else path.parent
    tasks = [(export, task) for export in exports for task in export.tasks]
    _check_unique_tasks(tasks)
    names = [_name(export, task, top) for export, task in tasks]
    counts = Counter(names)
    for place, (export, task) in enumerate(tasks):
        if counts[names[place]] > 1:
            names[place] = f"{export.path.stem}_{task.number}" if len(export.tasks) > 1 else export.path.stem
    repeated = next((name for name, count in Counter(names).items() if count > 1), None)
    if repeated is not None:
        files = " and ".join(
            str(export.path) for (export, _), name in zip(tasks, names, strict=True) if name == repeated
        )
        raise InputError(f"{files}: expected one video called {repeated}")
    folders = Counter(_folder(export, images) for export, _ in tasks)
    return [
        _with_media(name, export, task, top, images, only=folders[_folder(export, images)] == 1)
        for (export, task), name in zip(tasks, names, strict=True)
    ]


def _check_unique_tasks(tasks: Sequence[tuple[Export, Task]]) -> None:
    """Check that no task was exported to two files, such as at different times."""
    first: dict[Task, Path] = {}
    for export, task in tasks:
        other = first.setdefault(replace(task, name="", width=0, height=0), export.path)
        if task.number and other != export.path:
            raise InputError(
                f"{other} and {export.path}: expected one export of each task, got two of task {task.number} "
                f"({task.source or task.name}); move the older one away"
            )


def _name(export: Export, task: Task, top: Path) -> str:
    """Name a video after the exported file, unless CVAT chose the file's name or it has several tasks."""
    if len(export.tasks) > 1:
        return _stem(task.source) or base_name(task.name) or task.number
    if not _is_unnamed(export.path):
        return export.path.stem
    if export.path.parent != top:
        return export.path.parent.name
    return _stem(task.source) or export.path.stem


def _with_media(
    name: str, export: Export, task: Task, top: Path, images: Path | None, *, only: bool
) -> CvatVideo:
    unnamed = _is_unnamed(export.path)
    names = [base_name(task.source)] if unnamed else [export.path.stem, base_name(task.source)]
    if len(export.tasks) > 1:
        names = [base_name(task.source), base_name(task.name)]
    names = [n for n in dict.fromkeys([*names, name]) if n]
    folder, root = _folder(export, images), (images or top).absolute()
    media = find_media(folder, names, root=root, only=only)
    if only and unnamed and not task.source and not media.files and not media.source:
        media = find_only_video(folder, root=root)
    missing = "" if media.files or media.source else describe_missing(folder, names)
    if missing and export.with_images:
        missing += "; there are images in the zip: unzip it"
    return CvatVideo(name=name, export=export, task=task, media=media, missing=missing)


def _folder(export: Export, images: Path | None) -> Path:
    """Return the folder in which the video files or images of an export are searched for."""
    return (images or export.path.parent).absolute()


def _is_unnamed(path: Path) -> bool:
    """Return whether CVAT, not the user, chose the file's name, which then says nothing about the video."""
    return path.stem == "annotations" or path.suffix.lower() == ".zip"


def _stem(source: str) -> str:
    return PurePath(base_name(source)).stem
