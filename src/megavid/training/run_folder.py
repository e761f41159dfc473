"""The folder of a training run: its files, its lock, and whether a run may begin or resume in it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from megavid.core.errors import InputError
from megavid.core.files.atomic import atomic_path, check_target, remove_leftovers
from megavid.core.files.locks import locked_folder
from megavid.core.files.ownership import MADE_BY, anything
from megavid.core.files.regular_files import read_text
from megavid.jobs.executors.ranks import Ranks
from megavid.jobs.executors.torchrun import launch_id
from megavid.jobs.output_folder import make_output_folder
from megavid.training.checkpoint import list_checkpoints
from megavid.training.logs.curves import CURVES
from megavid.training.logs.run_log import LOG
from megavid.training.logs.summary import BEST, MODEL
from megavid.training.recipe import Recipe

CHECKPOINTS, RECIPE = "checkpoints", "recipe.json"

LAUNCH = "launch.txt"
"""Launch marker: a file beside the checkpoints with the id of the `torchrun` that runs or last ran here."""


@contextmanager
def hold_run_folder(folder: Path, ranks: Ranks) -> Iterator[None]:
    """In the first process, make a run's folder, and lock it while the `with` block runs.

    Temporary files that killed runs left are removed at the end, unless the block raises an error.

    Raises:
        InputError: Another run holds the folder, or an existing file would block an output.
    """
    if not ranks.first:
        yield
        return
    make_output_folder(folder)
    with locked_folder(folder, launch=launch_id()):
        for name in (MODEL, BEST, LOG, CURVES, RECIPE):
            check_target(folder / name)
        yield
        remove_leftovers(folder)


def check_run_folder(folder: Path, *, resume: bool) -> None:
    """Check that a run may use a folder, and make the folder if it is missing.

    A run in the folder is resumed if the user asks to, or if the `torchrun` that began the run has restarted
    its processes.

    Args:
        folder: Folder of the run.
        resume: Whether the user asks to resume.

    Raises:
        InputError: The folder cannot be written to, or holds a run that must not be resumed.
    """
    marker, launch = folder / CHECKPOINTS / LAUNCH, launch_id()
    restarted = launch is not None and marker.exists() and read_text(marker) == launch
    if list_checkpoints(folder / CHECKPOINTS) and not (resume or restarted):
        raise InputError(f"{folder}: holds a run already; --resume continues it, or choose another folder")
    make_output_folder(folder)


def prepare_run_folder(folder: Path, ranks: Ranks, *, resume: bool) -> None:
    """Make a run's folders in the first process, and check that all processes see them.

    Raises:
        InputError: See `check_run_folder`; or this process does not see the first one's files.
    """
    checkpoints, launch = folder / CHECKPOINTS, launch_id()
    name = f".seen-{uuid.uuid4().hex}"
    if ranks.first:
        check_run_folder(folder, resume=resume)
        make_output_folder(checkpoints)
        remove_leftovers(checkpoints, held=True)
        if launch is not None:
            with atomic_path(checkpoints / LAUNCH, ours=anything) as aside:
                aside.write_text(launch)
        (checkpoints / name).touch()
    name = ranks.agree(name)
    if not (checkpoints / name).exists():
        raise InputError(
            f"{folder}: expected a folder that all processes share; process {ranks.rank} does not see it"
        )
    ranks.wait()
    if ranks.first:
        (checkpoints / name).unlink()


def remove_launch_marker(folder: Path) -> None:
    """Remove the launch marker, so that another `torchrun` does not resume the run unasked."""
    (folder / CHECKPOINTS / LAUNCH).unlink(missing_ok=True)


def write_recipe(folder: Path, recipe: Recipe) -> None:
    """Write a run's recipe to `recipe.json`.

    Raises:
        InputError: The file cannot be written.
    """
    with atomic_path(folder / RECIPE) as aside:
        aside.write_text(json.dumps(MADE_BY | recipe.model_dump(mode="json"), indent=1) + "\n")
