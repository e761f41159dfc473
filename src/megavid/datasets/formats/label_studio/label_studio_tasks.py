"""Parse the tasks in Label Studio's export "JSON", and choose the labels of each task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megavid.core.errors import InputError
from megavid.core.files.json_yaml import read_json
from megavid.core.text import listed
from megavid.datasets.formats.frame_runs import expand_runs
from megavid.datasets.formats.json_values import flag, shown, whole_number
from megavid.datasets.formats.label_studio.label_studio_regions import Region, parse_region
from megavid.datasets.formats.label_studio.label_studio_videos import address_of
from megavid.datasets.formats.label_studio.write_label_studio import FRAMES_KEY
from megavid.datasets.table.problems import BadRowError, Problems

WITHOUT_BOXES = frozenset(
    {
        *("choices", "textarea", "rating", "number", "datetime", "taxonomy", "pairwise", "ranker"),
        *("timelinelabels", "relation"),
    }
)
"""Types of results that say something of a video or an object but have no boxes; they are not read."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task of Label Studio, which labels one video.

    Attributes:
        where: The file and the task, for messages.
        address: Where Label Studio finds the video.
        frames: int64 (F,), numbers of the labeled frames, from 0, ascending; None for all of the video.
        regions: The objects.
    """

    where: str
    address: str
    frames: NDArray[np.int64] | None
    regions: Sequence[Region]


def read_tasks(path: Path, problems: Problems) -> list[Task]:
    """Read the tasks of a file.

    A task that people annotated has their one annotation that is not cancelled; tasks without one are left
    out. If no task has an annotation, as in files to import, the tasks have their one prediction instead.

    Args:
        path: The JSON file.
        problems: Collects invalid tasks and regions.

    Raises:
        InputError: The file cannot be read or is of another kind; or see `problems`.
    """
    content = read_json(path)
    if not isinstance(content, list) or not all(isinstance(task, dict) for task in content):
        raise InputError(f"{path}: expected Label Studio's export JSON, a list of tasks")
    if not content or any("data" not in task for task in content):
        got = "no task" if not content else "a task without 'data'"
        raise InputError(f"{path}: expected Label Studio's export JSON (not JSON-MIN), got {got}")
    key = "annotations" if any(task.get("annotations") for task in content) else "predictions"
    if key == "predictions":
        problems.warn(path, "has no annotations: its predictions are read, which nobody may have corrected")
    reader = _Reader(key, problems)
    tasks = [reader.read(task, _place(path, task, number)) for number, task in enumerate(content)]
    if reader.without:
        problems.warn(path, f"{reader.without} tasks without {key} are left out")
    for kind, count in reader.ignored.items():
        problems.note(path, f"{count} results of type {kind} have no boxes and are not read")
    found = [task for task in tasks if task is not None]
    if not found and not problems.found:
        wanted = "annotations" if key == "annotations" else "annotations or predictions"
        raise InputError(f"{path}: expected tasks with {wanted}, got {len(content)} without")
    return found


def _place(path: Path, task: dict[str, Any], number: int) -> str:
    identity = whole_number(task.get("id"))
    return f"{path}, task {identity}" if identity is not None else f"{path}, task {number + 1} of the list"


class _Reader:
    """Reads tasks, with the labels under `key`.

    Attributes:
        without: Number of tasks without labels so far.
        ignored: Number of results so far of each type in `WITHOUT_BOXES`.
    """

    def __init__(self, key: str, problems: Problems) -> None:
        self._key, self._problems = key, problems
        self.without = 0
        self.ignored: Counter[str] = Counter()

    def read(self, task: dict[str, Any], where: str) -> Task | None:
        """Read a task; None if it has no labels or is invalid."""
        try:
            results = _results(task, self._key)
            if results is None:
                self.without += 1
                return None
            data = task["data"]
            if not isinstance(data, dict):
                raise BadRowError(f"expected data as an object, got {shown(data)}")
            address, frames = address_of(data), _frames(data, where)
        except BadRowError as error:
            self._problems.add(error.kind, where, str(error))
            return None
        return Task(where=where, address=address, frames=frames, regions=self._regions(results, where))

    def _regions(self, results: Sequence[Any], where: str) -> list[Region]:
        regions = []
        for number, result in enumerate(results):
            name = result.get("id") if isinstance(result, dict) else None
            place = f"{where}, region {name if isinstance(name, str) else number}"
            try:
                region = self._region(result, place)
            except BadRowError as error:
                self._problems.add(error.kind, place, str(error))
                continue
            if region is not None:
                regions.append(region)
        return regions

    def _region(self, result: object, place: str) -> Region | None:
        kind = result.get("type") if isinstance(result, dict) else None
        if not isinstance(result, dict) or not isinstance(kind, str):
            raise BadRowError(f"expected an object with a type, got {shown(result)}")
        if kind in WITHOUT_BOXES:
            self.ignored[kind] += 1
            return None
        if kind != "videorectangle":
            hint = "; export tasks of images as COCO" if kind == "rectanglelabels" else ""
            raise BadRowError(f"expected type videorectangle, got {shown(kind)}{hint}")
        return parse_region(result, place)


def _results(task: dict[str, Any], key: str) -> list[Any] | None:
    """Return the results of a task's only annotation or prediction; None if it has none."""
    entries = task.get(key) or []
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise BadRowError(f"expected {key} as a list of objects, got {shown(entries)}")
    kept = []
    for entry in entries:
        cancelled = flag(entry.get("was_cancelled"))
        if cancelled is None:
            got = shown(entry.get("was_cancelled"))
            raise BadRowError(f"expected was_cancelled as true or false, got {got}")
        if not cancelled:
            kept.append(entry)
    if len(kept) > 1:
        ids = listed([shown(entry.get("id")) for entry in kept])
        raise BadRowError(f"expected one of the {key}, got {len(kept)} (ids {ids}); delete the others")
    if not kept:
        return None
    results = kept[0].get("result")
    if not isinstance(results, list):
        raise BadRowError(f"expected result as a list, got {shown(results)}")
    return results


def _frames(data: dict[str, Any], where: str) -> NDArray[np.int64] | None:
    runs = data.get(FRAMES_KEY)
    if runs is None:
        return None
    if not isinstance(runs, list) or not all(
        isinstance(run, list) and all(whole_number(number) is not None for number in run) for run in runs
    ):
        raise BadRowError(f"expected {FRAMES_KEY} as runs of first, last and step, got {shown(runs)}")
    try:
        return expand_runs([[int(number) for number in run] for run in runs], FRAMES_KEY)
    except InputError as error:
        raise BadRowError(str(error)) from error
