"""Parts of an evaluation: a predictions file for each video, and a record of the run that writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from megavid.core.errors import InputError
from megavid.core.files.atomic import atomic_path, check_target, remove_leftovers
from megavid.core.files.json_yaml import read_json
from megavid.core.ranges import MOST_THREADS
from megavid.datasets.table.annotations import Annotations
from megavid.evaluation.formats.parquet_rewriting import merge_predictions
from megavid.evaluation.formats.parquet_schema import read_metadata
from megavid.jobs.executors.ranks import Ranks
from megavid.jobs.output_folder import PREDICTIONS, SCORE_FILES, make_output_folder

_PARTS = "parts"
_RUN = "run.json"
_THREADS = "threads"


def prepare_parts(folder: Path, run: Mapping[str, Any], *, threads: int | None) -> None:
    """Make the folder of the parts and record the run in it.

    Args:
        folder: Output folder.
        run: Settings that determine the predictions, as JSON values.
        threads: Number of threads that the run computes on, for `threads_before`; None if the number does not
            affect predictions.

    Raises:
        InputError: The folder holds parts of a run with other settings, or cannot be written to.
    """
    parts = folder / _PARTS
    make_output_folder(parts)
    path = parts / _RUN
    if not path.exists():
        if (folder / PREDICTIONS).exists():
            raise InputError(f"{folder / PREDICTIONS}: exists already; choose another output folder")
        for name in (PREDICTIONS, *SCORE_FILES):
            check_target(folder / name)
        with atomic_path(path) as aside:
            aside.write_text(json.dumps({**run, _THREADS: threads}))
        return
    before = _read_run(path)
    different = [key for key in run if json.loads(json.dumps(run[key])) != before.get(key)]
    if different:
        raise InputError(
            f"{folder}: holds parts of a run with different {' and '.join(different)}; choose another "
            f"output folder, or remove {parts} and {PREDICTIONS} to begin again"
        )


def threads_before(folder: Path, ranks: Ranks) -> int | None:
    """Return the number of threads that the run in a folder was begun with; None if it is not recorded.

    Raises:
        InputError: The record of the run cannot be read.
    """
    path = folder / _PARTS / _RUN
    threads = _read_run(path).get(_THREADS) if ranks.first and path.exists() else None
    if threads is not None and not (type(threads) is int and 1 <= threads <= MOST_THREADS):
        raise InputError(f"{path}: {_THREADS}: expected 1 to {MOST_THREADS}, got {threads!r}")
    return ranks.agree(threads)


def part_path(folder: Path, video: int) -> Path:
    """Return the path of a video's part."""
    return folder / _PARTS / f"{video:06d}.parquet"


def merge_parts(folder: Path, annotations: Annotations, run: Mapping[str, Any]) -> None:
    """Check that each frame is in exactly one part, then merge the parts and remove them.

    Args:
        folder: Output folder.
        annotations: The data set.
        run: Metadata of the predictions file, as JSON values.

    Raises:
        InputError: A part does not have exactly the frames of its video, or the predictions cannot be
            written.
    """
    lengths = annotations.frames_per_video.tolist()
    paths = {video: part_path(folder, video) for video, length in enumerate(lengths) if length}
    for video, path in paths.items():
        about = read_metadata(path)
        expected = {annotations.videos[video]: lengths[video] - about.get("left_out", 0)}
        # A part is written frame by frame, so the number of its frames tells whether it is complete.
        if {name: n for name, n in about["videos"].items() if n} != {k: n for k, n in expected.items() if n}:
            raise InputError(f"{path}: expected the frames {expected}, got {about['videos']}; remove it")
    metadata = {**run, "root": str(annotations.root)}
    for name in SCORE_FILES:  # They belong to earlier predictions.
        check_target(folder / name)
        (folder / name).unlink(missing_ok=True)
    merge_predictions(list(paths.values()), folder / PREDICTIONS, metadata=metadata)
    remove_leftovers(folder)
    remove_leftovers(folder / _PARTS, held=True)
    for path in paths.values():
        path.unlink()


def _read_run(path: Path) -> dict[str, Any]:
    """Read the record of a run."""
    try:
        run = read_json(path)
    except InputError as error:
        raise InputError(f"{error}; remove {path.parent} to begin again") from error
    if not isinstance(run, dict):
        raise InputError(f"{path}: expected the settings of a run; remove {path.parent} to begin again")
    return run
