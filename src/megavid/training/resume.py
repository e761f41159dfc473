"""Resume a run: load its newest checkpoint, and check which values of its recipe have changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from megavid.core.config import rename_keys, rename_path, validate
from megavid.core.errors import InputError
from megavid.jobs.executors.ranks import Ranks
from megavid.models.method_registry import config_type
from megavid.training.checkpoint import Checkpoint, checkpoint_path, load_checkpoint, load_newest
from megavid.training.optim.optimizer import OptimizerConfig
from megavid.training.recipe import Recipe
from megavid.training.run_folder import CHECKPOINTS

_MAY_CHANGE = (
    *("log", "data.val", "data.skip_bad"),
    *(f"optimizer.{key}" for key in OptimizerConfig.model_fields if key != "name"),
    *("run.steps", "run.workers", "run.compile", "run.dtype"),
    *("run.activation_checkpointing", "run.micro_batch"),
)
"""Sections and keys of a recipe that may change when a run is resumed.

Changing them can fix a failed run, save time or save memory.
"""


def load_checkpoint_to_resume(folder: Path, recipe: Recipe, ranks: Ranks) -> Checkpoint | None:
    """Load the newest checkpoint of a run; all processes load the same one.

    Args:
        folder: Folder of the run.
        recipe: Recipe of the resumed run.
        ranks: Rank of this process among those of the run.

    Returns:
        The checkpoint, or None if there is none; then a new run begins.

    Raises:
        InputError: No checkpoint can be read, or the recipe has changed in a value that must not change.
    """
    checkpoint = load_newest(folder / CHECKPOINTS) if ranks.first else None
    path = ranks.agree(None if checkpoint is None else checkpoint_path(folder / CHECKPOINTS, checkpoint.step))
    if path is not None and not ranks.first:
        checkpoint = load_checkpoint(path)
    for changed in changed_keys(checkpoint, recipe):
        if not any(changed == may or changed.startswith(f"{may}.") for may in _MAY_CHANGE):
            raise InputError(
                f"{folder}: the run in it was begun with another {changed}; choose another folder"
            )
    return checkpoint


def changed_keys(checkpoint: Checkpoint | None, recipe: Recipe) -> list[str]:
    """List the dotted paths of the values that differ between a recipe and a checkpoint's recipe."""
    if checkpoint is None:
        return []
    return list(differing_keys(_present_recipe(checkpoint), recipe.model_dump(mode="json")))


def differing_keys(one: dict[str, Any], other: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the dotted paths at which two mappings of nested values differ."""
    for key in sorted(one.keys() | other.keys()):
        a, b = one.get(key), other.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            yield from differing_keys(a, b, f"{prefix}{key}.")
        elif a != b:
            yield f"{prefix}{key}"


def _present_recipe(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return a checkpoint's recipe as this version would have saved it."""
    saved = rename_keys(Recipe, checkpoint.recipe)
    try:
        model_type = config_type(checkpoint.config, origin="")
        for key in ("settings", "settings_if_any"):
            saved[key] = {rename_path(model_type, path): value for path, value in saved[key].items()}
        return validate(Recipe, saved, origin="").model_dump(mode="json")
    except (AttributeError, InputError, KeyError):  # a damaged recipe counts as changed, and is reported
        return saved
