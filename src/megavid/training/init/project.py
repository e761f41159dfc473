"""Create a project folder for training on annotated videos."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from megavid.checkpoints.load import read_config
from megavid.core.config import with_overrides
from megavid.core.errors import InputError
from megavid.core.files.atomic import atomic_folder, check_new_folder
from megavid.datasets.plot_stats import plot_stats
from megavid.datasets.stats import compute_stats
from megavid.jobs.progress import say
from megavid.models.method_registry import detector_config
from megavid.reports.contact_sheet import write_contact_sheet
from megavid.training.hardware import Hardware
from megavid.training.init.proposal import Proposal, propose
from megavid.training.init.recipe_yaml import as_yaml
from megavid.training.init.train_val import Split
from megavid.training.read_recipe import override_recipe
from megavid.training.recipe import Recipe
from megavid.training.step_time import time_step

TRAIN, VAL, RECIPE_FILE = "train.parquet", "val.parquet", "recipe.yaml"
PICTURE, SHEET = "data.png", "sheet.jpg"

_FEWEST_STEPS = 100
"""If time limits the number of steps, the proposed number is a multiple of this one."""


@dataclass(frozen=True)
class Project:
    """Summary of a new project.

    Attributes:
        recipe: The proposed recipe.
        length: Description of the number of steps and, if steps were timed, of how long they take.
        notes: Remarks for the user, one line each.
    """

    recipe: Recipe
    length: str
    notes: list[str]


def check_project_folder(folder: Path) -> None:
    """Check that a project folder can be created at a path.

    Raises:
        InputError: The path is the working directory, exists already, or is not a valid name for a folder.
    """
    if os.path.realpath(folder) == os.path.realpath(Path.cwd()):
        raise InputError(f"{folder}: is the working directory; choose a name for a folder in it")
    check_new_folder(folder)


def create_project(
    folder: Path,
    split: Split,
    *,
    model: str | None,
    hardware: Hardware,
    overrides: Mapping[str, Any],
    head: list[str],
    hours: float | None,
) -> Project:
    """Create a project folder: indexes of the data, pictures of the data, and a recipe with reasons.

    Args:
        folder: Folder to create; it appears whole or not at all.
        split: Training and validation data.
        model, hardware: See `propose`.
        overrides: Values that the user gives for the recipe or its model, by dotted path.
        head: Comments for the beginning of the recipe, one line each.
        hours: Longest time that training may take on this machine. None means no limit; then no steps are
            timed.

    Raises:
        InputError: See `check_project_folder`, `propose` and `time_step`; or the folder cannot be created.
    """
    check_project_folder(folder)
    proposed = partial(_propose, folder, split, model=model, hardware=hardware, overrides=overrides)
    proposal, recipe = proposed(most_steps=None)
    notes, time = list[str](), ""
    if hours is not None:
        say("timing two steps ...")
        seconds, wanted = time_step(recipe, split.train, hardware), recipe.run.steps
        fitting = max(int(hours * 3600 / seconds) // _FEWEST_STEPS, 1) * _FEWEST_STEPS
        if fitting < wanted:
            proposal, recipe = proposed(most_steps=fitting)
        if recipe.run.steps < wanted:
            notes.append(_describe_shortening(wanted, seconds))
        time = _describe_time(recipe, split, seconds)
        proposal.reasons["run.steps"] += f"; {time}"
    _write(folder, split, as_yaml(proposal, head=head))
    length = f"{recipe.run.steps} steps of {recipe.run.batch} clips{time and ', '}{time}"
    return Project(recipe, length, notes)


def _propose(
    folder: Path,
    split: Split,
    *,
    model: str | None,
    hardware: Hardware,
    overrides: Mapping[str, Any],
    most_steps: int | None,
) -> tuple[Proposal, Recipe]:
    """Propose a recipe, and check the recipe and the configuration of its model."""
    data: dict[str, Any] = {"train": [{"path": str(folder / TRAIN)}], "val": None}
    if split.val is not None:
        data["val"] = {"path": str(folder / VAL)}
    proposal = propose(
        split.train, data=data, model=model, hardware=hardware, overrides=overrides, most_steps=most_steps
    )
    values, recipe = override_recipe(proposal.recipe, overrides, origin=str(folder / RECIPE_FILE))
    config, origin = read_config(recipe.model)
    settings = {**recipe.model_settings(config), "classes": list(split.train.classes)}
    detector_config(with_overrides(config, settings), origin=origin)
    return replace(proposal, recipe=values), recipe


def _describe_shortening(wanted: int, seconds: float) -> str:
    return (
        f"the data is enough for {wanted} steps, which take {in_words(wanted * seconds)} here: fewer are "
        "proposed. A GPU, or a smaller --input.min_size and --input.max_size, does more in that time"
    )


def _describe_time(recipe: Recipe, split: Split, seconds: float) -> str:
    """Describe how long training takes if each step takes `seconds`."""
    run = recipe.run
    time = f"{in_words(run.steps * seconds)} here ({seconds:.2g} s a step)"
    if split.val is None:
        return time
    count = -(-run.steps // (recipe.log.evaluate_every or run.steps))
    return f"{time} and {count} evaluation{'s' if count > 1 else ''} of {len(split.val)} frames"


def in_words(seconds: float) -> str:
    """Describe a duration in words, such as "about 2.5 hours"."""
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 1.5 * size:
            return f"about {seconds / size:.2g} {unit}"
    return f"about {seconds:.0f} seconds"


def _write(folder: Path, split: Split, recipe: str) -> None:
    with atomic_folder(folder) as aside:
        split.train.save(aside / TRAIN)
        val = None
        if split.val is not None:
            split.val.save(aside / VAL)
            val = compute_stats(split.val)
        plot_stats(compute_stats(split.train), aside / PICTURE, val=val)
        parts = {"train": split.train, **({"val": split.val} if split.val is not None else {})}
        write_contact_sheet(parts, aside / SHEET)
        (aside / RECIPE_FILE).write_text(recipe, encoding="utf-8")
