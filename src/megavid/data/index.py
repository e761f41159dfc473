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

from megavid.core.annotations import Annotations, load_annotations
from megavid.core.concatenate import concatenate
from megavid.core.cores import usable_cores
from megavid.core.errors import InputError
from megavid.core.files import atomic_path
from megavid.core.index_file import INDEX_VERSION
from megavid.core.ownership import anything
from megavid.core.problems import Problem, Problems
from megavid.core.processes import end_with_parent
from megavid.data.ilsvrc import list_videos, read_entries
from megavid.data.ilsvrc_lists import VideoEntry, read_classes

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
            problems.add(problem.kind, problem.where, problem.message)
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
            return load_annotations(path), []
        table, found = self._read_files(entries)
        if not found:  # else it may be mended by the next run
            table.save(path)
        return table, found

    def _read_files(self, entries: Sequence[VideoEntry]) -> tuple[Annotations, list[Problem]]:
        problems = Problems(skip=True)
        table = read_entries(self.root, self.subset, entries, classes=self.classes, problems=problems)
        return table, problems.found


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
    plan = {
        "index": INDEX_VERSION,
        "root": str(root.absolute()),
        "subset": subset,
        "classes": list(classes) if classes else None,
        "files_at_once": _FILES_AT_ONCE,
        "videos": hashlib.sha256(json.dumps(listing).encode()).hexdigest(),
    }
    path = parts / _PLAN
    if path.exists() and json.loads(path.read_text()) == plan:
        return
    for old in parts.glob(f"{'[0-9]' * 6}.parquet"):
        old.unlink()
    with atomic_path(path, ours=anything) as aside:
        aside.write_text(json.dumps(plan))
