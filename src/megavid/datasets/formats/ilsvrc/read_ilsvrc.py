"""Read a subset of an ILSVRC data set in several processes, and resume after an interruption."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydantic import Field

from megavid.core.config import Config, validate
from megavid.core.errors import InputError
from megavid.core.files.atomic import atomic_path
from megavid.core.files.json_yaml import read_json
from megavid.core.files.ownership import anything
from megavid.core.machine.cores import usable_cores
from megavid.core.machine.processes import end_with_parent
from megavid.datasets.formats.ilsvrc.ilsvrc_layout import list_videos
from megavid.datasets.formats.ilsvrc.ilsvrc_lists import VideoEntry, read_classes
from megavid.datasets.formats.ilsvrc.ilsvrc_xml import read_entries
from megavid.datasets.table.annotations import Annotations, load_annotations
from megavid.datasets.table.concatenate import concatenate
from megavid.datasets.table.index_file import INDEX_VERSION
from megavid.datasets.table.problems import Problem, Problems

_FILES_PER_PART = 2_000
"""Approximate number of XML files that are read into one part of the table."""

_MOST_WORKERS = 16
"""Largest default number of processes, each of which takes some 50 MB."""

_PLAN = "plan.json"

_Part = tuple[Annotations, list[Problem]]
"""A part of the table, and the problems of the files that it was read from."""


def read_ilsvrc(
    root: Path,
    subset: str,
    *,
    classes: Sequence[str] | None = None,
    problems: Problems,
    workers: int | None = None,
    parts: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Annotations:
    """Read a subset of an ILSVRC data set.

    Args:
        root: The folder that `ilsvrc_layout.find_root` returns.
        subset: One of `ilsvrc_layout.SUBSETS`.
        classes: Class names of a custom data set. By default, these are the names in
            `ImageSets/classes.txt`, or the 30 classes of VID if there is no such file.
        problems: Collects broken files, lines and objects.
        workers: Number of processes; by default the number of cores, at most 16.
        parts: Folder in which finished parts of the table are saved if their files have no problems. A later
            run with the same arguments loads these parts.
        progress: Called with the number of XML files read so far and the total.

    Raises:
        InputError: The subset is missing, or `parts` cannot be written; or see `problems`.
    """
    root, classes = root.absolute(), classes or read_classes(root)
    entries = list_videos(root, subset, problems=problems)
    if parts is not None:
        _prepare(parts, root, subset, classes, entries)
    job = _Job(root, subset, tuple(classes) if classes else None, parts)
    chunks, done = _chunks(entries), 0
    tables = [read_entries(root, subset, (), classes=classes, problems=problems)]  # for the case of no chunks
    for chunk, (table, found) in zip(chunks, _read_chunks(job, chunks, workers), strict=True):
        for problem in found:
            problems.add_problem(problem)
        tables.append(table)
        done += sum(map(len, chunk))
        progress(done, sum(map(len, entries)))
    # Image ids start from 1 in every part, but have to be unique.
    return replace(concatenate(tables), image_ids=np.arange(1, 1 + sum(map(len, tables))))


@dataclass(frozen=True)
class _Job:
    """The arguments that all parts share."""

    root: Path
    subset: str
    classes: tuple[str, ...] | None
    parts: Path | None

    def read(self, number: int, entries: Sequence[VideoEntry]) -> _Part:
        """Load a part from its file if there is one, or else read and save it."""
        if self.parts is None:
            return self._read_files(entries)
        path = self.parts / f"{number:06d}.parquet"
        if path.exists():
            return self._load(path, entries), []
        table, found = self._read_files(entries)
        if not found:  # the user may repair the files before the next run
            table.save(path)
        return table, found

    def _load(self, path: Path, entries: Sequence[VideoEntry]) -> Annotations:
        table, (empty, _) = load_annotations(path), self._read_files(())
        fits = all(getattr(table, key) == getattr(empty, key) for key in ("root", "classes", "category_ids"))
        if not fits or not {entry.folder for entry in entries}.issuperset(table.videos):
            raise InputError(f"{path}: expected a part of {self.root}; remove {self.parts} to begin again")
        return table

    def _read_files(self, entries: Sequence[VideoEntry]) -> _Part:
        problems = Problems(skip=True)
        table = read_entries(self.root, self.subset, entries, classes=self.classes, problems=problems)
        return table, problems.found


class _Plan(Config):
    """Describes what the parts in a folder were read from.

    Attributes:
        index: Version of the format of the parts.
        root: The `root` argument of `read_ilsvrc`, as an absolute path.
        subset: The `subset` argument of `read_ilsvrc`.
        classes: The `classes` argument of `read_ilsvrc`, or the class names that it read.
        files_at_once: Value of `_FILES_PER_PART`.
        videos: SHA-256 of the names and frame numbers of all videos.
    """

    index: int = 1
    root: str
    subset: str
    classes: tuple[str, ...] | None = Field(strict=False)
    files_at_once: int
    videos: str


def _read_chunks(job: _Job, chunks: Sequence[Sequence[VideoEntry]], workers: int | None) -> Iterator[_Part]:
    count = min(workers or min(usable_cores(), _MOST_WORKERS), len(chunks))
    if count <= 1:  # not worth the start of a process
        yield from map(job.read, range(len(chunks)), chunks)
        return
    context = multiprocessing.get_context("spawn")  # forking a caller that runs threads may deadlock
    with ProcessPoolExecutor(count, mp_context=context, initializer=_start_process) as pool:
        futures = [pool.submit(job.read, number, chunk) for number, chunk in enumerate(chunks)]
        try:
            for future in futures:
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _start_process() -> None:
    # Ctrl-C reaches all processes of the group, but this process first finishes and saves its part.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


def _chunks(entries: Sequence[VideoEntry]) -> list[list[VideoEntry]]:
    """Divide the entries into chunks of about `_FILES_PER_PART` files."""
    chunks: list[list[VideoEntry]] = []
    room = 0
    for entry in entries:
        if room <= 0:
            chunks.append([])
            room = _FILES_PER_PART
        chunks[-1].append(entry)
        room -= len(entry)
    return chunks


def _prepare(
    parts: Path, root: Path, subset: str, classes: Sequence[str] | None, entries: Sequence[VideoEntry]
) -> None:
    """Create the folder `parts`, and remove parts in it that were made from other arguments or files."""
    try:
        parts.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{parts}: cannot be written to: {error.strerror}") from error
    listing = [[e.folder, list(e.numbers), sorted(e.listed or ()), e.in_list] for e in entries]
    content = {
        "index": INDEX_VERSION,
        "root": str(root.absolute()),
        "subset": subset,
        "classes": tuple(classes) if classes else None,
        "files_at_once": _FILES_PER_PART,
        "videos": hashlib.sha256(json.dumps(listing).encode()).hexdigest(),
    }
    plan = validate(_Plan, content, origin=parts)
    path = parts / _PLAN
    if path.exists() and _read_plan(path) == plan:
        return
    for old in parts.glob(f"{'[0-9]' * 6}.parquet"):
        old.unlink()
    with atomic_path(path, ours=anything) as aside:
        aside.write_text(plan.model_dump_json())


def _read_plan(path: Path) -> _Plan:
    try:
        return validate(_Plan, read_json(path), origin=path)
    except InputError as error:
        raise InputError(f"{error}; remove {path.parent} to begin again") from error
