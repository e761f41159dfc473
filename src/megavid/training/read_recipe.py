"""Read shipped recipes and YAML files, and apply the values that the user gives."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from megavid.checkpoints.load import shipped_configs
from megavid.core.config import read_mapping, validate, with_overrides
from megavid.core.errors import InputError
from megavid.core.files.paths import is_file
from megavid.core.files.shipped import shipped_files
from megavid.training.recipe import Recipe

SECTIONS = ("data", "start", "optimizer", "run", "log")
"""Sections of a recipe; other dotted paths belong to the configuration of the recipe's model."""


def shipped_recipes() -> list[str]:
    """List the names of the recipes that come with the package."""
    return list(shipped_files("recipes", ".yaml"))


def read_recipe(
    name: str,
    *,
    model: str | None = None,
    data: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Recipe:
    """Read a recipe and replace some of its values.

    Args:
        name: Name of a shipped recipe, or path of a YAML file.
        model: Name of a shipped configuration, or path of a YAML file, that replaces the recipe's model; None
            keeps the recipe's model. The recipe's `settings` and `settings_if_any` apply to a shipped
            configuration, too, but not to a YAML file.
        data: Path that replaces the paths of all data sets.
        overrides: Other values to replace, by dotted path: values of the recipe, such as "run.steps", and of
            the model's configuration, such as "method.window".

    Raises:
        InputError: The recipe is missing, or a key or value is wrong.
    """
    values = _read_values(name)
    if model is not None:
        values["model"] = model
        if model not in shipped_configs():  # a YAML file describes the whole network
            values.pop("settings", None)
            values.pop("settings_if_any", None)
    if data is not None:
        _set_data_path(values, data)
    return override_recipe(values, overrides or {}, origin=name)[1]


def override_recipe(
    values: Mapping[str, Any], overrides: Mapping[str, Any], *, origin: str
) -> tuple[dict[str, Any], Recipe]:
    """Replace values of a recipe by dotted path.

    Args:
        values: Nested values of the recipe.
        overrides: As in `read_recipe`.
        origin: Where the values came from, for messages.

    Returns:
        The nested values after replacement, and the recipe that they describe.

    Raises:
        InputError: A key or value is wrong.
    """
    sections = {*SECTIONS, *Recipe.renamed_keys}
    own = {path: value for path, value in overrides.items() if path.split(".")[0] in sections}
    values = with_overrides(values, own)
    settings = {path: value for path, value in overrides.items() if path not in own}
    if settings:
        validate(Recipe, values, origin=origin)  # `settings` has to be a mapping to be extended
        values["settings"] = {**values.get("settings", {}), **settings}
    return values, validate(Recipe, values, origin=origin)


def shorten_for_check(recipe: Recipe) -> Recipe:
    """Return a copy of a recipe with only two steps and one evaluation."""
    run = recipe.run.model_copy(update={"steps": 2})
    log = recipe.log.model_copy(update={"every": 1, "evaluate_every": None})
    optimizer = recipe.optimizer.model_copy(update={"milestones": ()})
    return recipe.model_copy(update={"run": run, "log": log, "optimizer": optimizer})


def _read_values(name: str) -> dict[str, Any]:
    shipped = shipped_files("recipes", ".yaml")
    if name in shipped:
        return read_mapping(shipped[name])
    if is_file(Path(name)):
        return read_mapping(Path(name))
    wanted = f"expected a YAML file or one of {', '.join(shipped)}"
    inside = Path(name) / "recipe.yaml"
    if is_file(inside):
        wanted = f"this is a folder; did you mean {inside}?"
    raise InputError(f"{name}: no such recipe; {wanted}")


def _set_data_path(values: dict[str, Any], path: Path) -> None:
    """Set the path of every data set of a recipe, in place."""
    sets = values.get("data")
    if isinstance(sets, dict):
        train, val = sets.get("train"), sets.get("val")
        for data_set in [*(train if isinstance(train, list) else []), val]:
            if isinstance(data_set, dict):
                data_set["path"] = str(path)
