"""Building the table of an ILSVRC data set in several processes, in pieces that need not be built again."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydantic import Field

from megavid.core.config import Config, validate
from megavid.core.errors import InputError
from megavid.core.files.atomic import atomic_path
from megavid.core.files.ownership import anything
from megavid.core.files.parsing import read_json
from megavid.core.machine.cores import usable_cores
from megavid.core.machine.processes import end_with_parent
from megavid.datasets.formats.ilsvrc.lists import VideoEntry, read_classes
from megavid.datasets.formats.ilsvrc.read_ilsvrc import list_videos, read_entries
from megavid.datasets.table.annotations import Annotations, load_annotations
from megavid.datasets.table.concatenate import concatenate
from megavid.datasets.table.index_file import INDEX_VERSION
from megavid.datasets.table.problems import Problem, Problems

_FILES_AT_ONCE = 2_000
_MOST_WORKERS = 16
"""By default: each takes some 50 MB."""

_PLAN = "plan.json"


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
    """The annotations of a subset of an ILSVRC data set.

    Args:
        root: See `ilsvrc.find_root`.
        subset: One of `ilsvrc.SUBSETS`.
        classes: Names, for data sets of one's own; None for those in its `ImageSets/classes.txt`, or else the
            30 of VID.
        problems: Where broken files, lines and objects go.
        workers: Processes; as many as there are cores by default, up to 16.
        parts: A folder to keep finished pieces in. What it has of the same job is not read again; pieces
            with problems are.
        progress: Called with the number of XML files done and that of all.

    Raises:
        InputError: The subset is missing or `parts` cannot be written; or see `problems`.
    """
    root = root.absolute()
    classes = classes or read_classes(root)
    entries = list_videos(root, subset, problems=problems)
    chunks = _chunks(entries)
    if parts is not None:
        _prepare(parts, root, subset, classes, entries)
    job = _Job(root, subset, tuple(classes) if classes else None, parts)
    total = sum(map(len, entries))
    done, tables = 0, []
    # Spawned, not forked: the caller may run threads. Few chunks are not worth the start of a process.
    count = min(workers or min(usable_cores(), _MOST_WORKERS), len(chunks))
    results = map(job.read, range(len(chunks)), chunks) if count <= 1 else _in_processes(job, chunks, count)
    for chunk, (table, found) in zip(chunks, results, strict=True):
        for problem in found:
            problems.add_problem(problem)
        tables.append(table)
        done += sum(map(len, chunk))
        progress(done, total)
    empty = read_entries(root, subset, (), classes=classes, problems=problems)
    table = concatenate(tables or [empty])
    # Each chunk counts its frames from 1; an id has to be one frame's only.
    return replace(table, image_ids=np.arange(1, len(table) + 1))


@dataclass(frozen=True)
class _Job:
    """What the processes have in common."""

    root: Path
    subset: str
    classes: tuple[str, ...] | None
    parts: Path | None

    def read(self, number: int, entries: Sequence[VideoEntry]) -> tuple[Annotations, list[Problem]]:
        """A chunk, from where it is kept or from its files."""
        if self.parts is None:
            return self._read_files(entries)
        path = self.parts / f"{number:06d}.parquet"
        if path.exists():
            return self._load_piece(path, entries), []
        table, found = self._read_files(entries)
        if not found:  # else it may be mended by the next run
            table.save(path)
        return table, found

    def _load_piece(self, path: Path, entries: Sequence[VideoEntry]) -> Annotations:
        table, (empty, _) = load_annotations(path), self._read_files(())
        fits = all(getattr(table, key) == getattr(empty, key) for key in ("root", "classes", "category_ids"))
        if not fits or not {entry.folder for entry in entries}.issuperset(table.videos):
            raise InputError(f"{path}: expected a piece of {self.root}; remove {self.parts} to begin again")
        return table

    def _read_files(self, entries: Sequence[VideoEntry]) -> tuple[Annotations, list[Problem]]:
        problems = Problems(skip=True)
        table = read_entries(self.root, self.subset, entries, classes=self.classes, problems=problems)
        return table, problems.found


class _Plan(Config):
    """What the pieces in a folder are of.

    Attributes:
        index: Version of their format.
        root, subset, classes: See `read_ilsvrc`.
        files_at_once: Files of a piece.
        videos: SHA-256 of all videos and their frames.
    """

    index: int = 1
    root: str
    subset: str
    classes: tuple[str, ...] | None = Field(strict=False)
    files_at_once: int
    videos: str


def _in_processes(
    job: _Job, chunks: Sequence[Sequence[VideoEntry]], count: int
) -> Iterator[tuple[Annotations, list[Problem]]]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, mp_context=context, initializer=_start_process) as pool:
        futures: list[Future[tuple[Annotations, list[Problem]]]] = [
            pool.submit(job.read, number, chunk) for number, chunk in enumerate(chunks)
        ]
        try:
            for future in futures:
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _start_process() -> None:
    # Ctrl-C goes to the whole group; this process finishes, and keeps, the chunk that it is at.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


def _chunks(entries: Sequence[VideoEntry]) -> list[list[VideoEntry]]:
    """The entries in pieces of some thousand files."""
    chunks: list[list[VideoEntry]] = []
    room = 0
    for entry in entries:
        if room <= 0:
            chunks.append([])
            room = _FILES_AT_ONCE
        chunks[-1].append(entry)
        room -= len(entry)
    return chunks


def _prepare(
    parts: Path, root: Path, subset: str, classes: Sequence[str] | None, entries: Sequence[VideoEntry]
) -> None:
    """Make the folder; throw out pieces of another job."""
    try:
        parts.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{parts}: cannot be written to: {error.strerror}") from error
    listing = [[e.folder, list(e.numbers), sorted(e.listed or ()), e.named] for e in entries]
    content = {
        "index": INDEX_VERSION,
        "root": str(root.absolute()),
        "subset": subset,
        "classes": tuple(classes) if classes else None,
        "files_at_once": _FILES_AT_ONCE,
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
