"""Parse the tasks in CVAT's export: their frames, sizes and sources."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from megavid.core.errors import InputError
from megavid.datasets.formats.limits import LARGEST_SIDE, LONGEST_VIDEO
from megavid.datasets.table.index_file import LARGEST_NUMBER


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task of CVAT, which annotates one video.

    Attributes:
        number: Id of the task, as text.
        name: Name of the task in CVAT.
        source: Name of the video or image file that was uploaded to CVAT.
        width: Width of the frames in pixels; 0 if unknown.
        height: Height of the frames in pixels; 0 if unknown.
        first: Number of the first frame.
        step: Difference between the numbers of successive frames.
        size: Number of frames; None if unknown.
    """

    number: str
    name: str
    source: str
    width: int
    height: int
    first: int
    step: int
    size: int | None


def read_tasks(meta: ElementTree.Element, path: Path) -> list[Task]:
    """Parse the tasks of a file. The export of a project contains several tasks.

    Args:
        meta: The element `meta` of the file.
        path: The file, for messages.

    Raises:
        InputError: A number or `frame_filter` is invalid, a number is too large, or numbers contradict each
            other.
    """
    found = meta.findall("project/tasks/task") or [*meta.findall("task"), *meta.findall("job")]
    return [_task(element, meta, path) for element in found or [meta]]


def _task(element: ElementTree.Element, meta: ElementTree.Element, path: Path) -> Task:
    def number(key: str, most: int) -> int | None:
        text = (element.findtext(key) or meta.findtext(key) or "").strip()
        try:
            value = int(text) if text else None
        except ValueError as error:
            raise InputError(f"{path}: expected whole numbers in meta: {key}: {error}") from error
        if value is not None and not 0 <= value <= most:
            raise InputError(f"{path}: {key}: expected a number from 0 to {most}, got {text}")
        return value

    first, stop = number("start_frame", LARGEST_NUMBER // 2) or 0, number("stop_frame", LARGEST_NUMBER)
    filter_ = (element.findtext("frame_filter") or "").strip()
    match = re.fullmatch(r"step\s*=\s*([1-9][0-9]{0,5})", filter_)
    if filter_ and not match:
        raise InputError(f"{path}: frame_filter: expected step=NUMBER, got {filter_!r}")
    step = int(match[1]) if match else 1
    size = number("size", LONGEST_VIDEO) or None
    if stop:
        span = (stop - first) // step + 1
        if (size or span) != span or not 0 < span <= LONGEST_VIDEO:
            raise InputError(
                f"{path}: expected start_frame, stop_frame, frame_filter and size that agree, got {first}, "
                f"{stop}, {filter_ or 'none'} and {size or 'none'}"
            )
        size = span
    return Task(
        number=(element.findtext("id") or "").strip(),
        name=(element.findtext("name") or "").strip(),
        source=(element.findtext("source") or "").strip(),
        width=number("original_size/width", LARGEST_SIDE) or 0,
        height=number("original_size/height", LARGEST_SIDE) or 0,
        first=first,
        step=step,
        size=size,
    )
