"""What a training run is put together from: its recipe, data and detector."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import torch

from megavid.checkpoints.load import read_config
from megavid.checkpoints.starting_weights import Loaded, load_backbone, load_flow, load_from_detector
from megavid.core.config import read_mapping, rename_keys, rename_path, validate, with_overrides
from megavid.core.errors import InputError
from megavid.core.files.atomic import atomic_path, check_target, remove_leftovers
from megavid.core.files.locks import locked_folder
from megavid.core.files.ownership import MADE_BY, anything
from megavid.core.files.paths import is_file
from megavid.core.files.regular_files import read_text
from megavid.jobs.executors.ranks import Ranks
from megavid.jobs.executors.torchrun import launch_id
from megavid.jobs.output_folder import make_output_folder
from megavid.models.base.detector import VideoDetector
from megavid.models.methods import build_detector, config_type, detector_config
from megavid.training.checkpoint import (
    Checkpoint,
    checkpoint_path,
    list_checkpoints,
    load_checkpoint,
    load_newest,
)
from megavid.training.optimizer import OptimizerConfig
from megavid.training.recipe import Recipe
from megavid.training.run_log import CURVES, LOG
from megavid.training.summary import BEST, MODEL

logger = logging.getLogger(__name__)

_RECIPES = resources.files("megavid") / "recipes"

CHECKPOINTS, RECIPE = "checkpoints", "recipe.json"

LAUNCH = "launch.txt"
"""In the folder of checkpoints: which `torchrun` began the run, or went on with it last."""

_MAY_CHANGE = (
    *("log", "data.val", "data.skip_bad"),
    *(f"optimizer.{key}" for key in OptimizerConfig.model_fields if key != "name"),
    *(
        "run.steps",
        "run.workers",
        "run.activation_checkpointing",
        "run.compile",
        "run.dtype",
        "run.micro_batch",
    ),
)
"""From one part of a run to the next: what mends a failure or costs time or memory."""

SECTIONS = ("data", "start", "optimizer", "run", "log")
"""Parts of a recipe; other dotted paths are settings of its model."""


def shipped_recipes() -> list[str]:
    """Names of the recipes that come with the package."""
    names = (Path(entry.name) for entry in _RECIPES.iterdir())
    return sorted(name.stem for name in names if name.suffix == ".yaml")


def read_recipe(
    name: str,
    *,
    model: str | None = None,
    data: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Recipe:
    """A recipe with some of its values changed.

    Args:
        name: A shipped recipe's name or a YAML file.
        model: Another model than the recipe's.
        data: Another path for all of its data sets.
        overrides: Other values by dotted path: "run.steps" and the like of the recipe, all others of the
            model's configuration, such as "method.window".

    Raises:
        InputError: There is no such recipe, or a key or value is wrong.
    """
    if name in shipped_recipes():
        with resources.as_file(_RECIPES / f"{name}.yaml") as path:
            values = read_mapping(path)
    elif is_file(Path(name)):
        values = read_mapping(Path(name))
    else:
        wanted = f"expected a YAML file or one of {', '.join(shipped_recipes())}"
        inside = Path(name) / "recipe.yaml"
        if is_file(inside):
            wanted = f"this is a folder; did you mean {inside}?"
        raise InputError(f"{name}: no such recipe; {wanted}")
    if model is not None:
        values["model"] = model
    if data is not None:
        _use_data(values, data)
    return override_recipe(values, overrides or {}, origin=name)[1]


def override_recipe(
    values: Mapping[str, Any], overrides: Mapping[str, Any], *, origin: str
) -> tuple[dict[str, Any], Recipe]:
    """A recipe's nested values with others at dotted paths, of the recipe or of its model's configuration.

    Args:
        values: The recipe's.
        overrides: As in `read_recipe`.
        origin: Where the values came from, for messages.

    Raises:
        InputError: A key or value is wrong.
    """
    sections = {*SECTIONS, *Recipe.renamed_keys}
    own = {path: value for path, value in overrides.items() if path.split(".")[0] in sections}
    values = with_overrides(values, own)
    settings = {path: value for path, value in overrides.items() if path not in own}
    if settings:
        validate(Recipe, values, origin=origin)  # before its parts are put together
        values["settings"] = {**values.get("settings", {}), **settings}
    return values, validate(Recipe, values, origin=origin)


def _use_data(values: dict[str, Any], path: Path) -> None:
    """Put a path into all data sets of a recipe."""
    sets = values.get("data")
    if isinstance(sets, dict):
        train, val = sets.get("train"), sets.get("val")
        for data_set in [*(train if isinstance(train, list) else []), val]:
            if isinstance(data_set, dict):
                data_set["path"] = str(path)


def for_check(recipe: Recipe) -> Recipe:
    """The recipe for two steps with one evaluation."""
    run = recipe.run.model_copy(update={"steps": 2})
    log = recipe.log.model_copy(update={"every": 1, "evaluate_every": None})
    optimizer = recipe.optimizer.model_copy(update={"milestones": ()})
    return recipe.model_copy(update={"run": run, "log": log, "optimizer": optimizer})


def make_detector(
    recipe: Recipe, classes: tuple[str, ...], *, begins: bool
) -> tuple[VideoDetector[Any, Any], list[Loaded]]:
    """The recipe's detector, with the weights that it starts from.

    Args:
        recipe: What to build.
        classes: Those of the training data.
        begins: Whether a run begins; one that goes on has its weights in a checkpoint.

    Returns:
        The detector, and what was loaded into it.

    Raises:
        InputError: The configuration or a weight file is wrong.
    """
    data, origin = read_config(recipe.model)
    settings = {**recipe.model_settings(data), "classes": list(classes)}
    detector = build_detector(detector_config(with_overrides(data, settings), origin=origin))
    detector.freeze(stages=recipe.run.frozen_stages)
    if not begins:
        return detector, []
    torch.manual_seed(recipe.run.seed)
    detector.initialise()
    loaded = [
        load(detector, path)
        for load, path in (
            (load_backbone, recipe.start.backbone),
            (load_from_detector, recipe.start.detector),
            (load_flow, recipe.start.flow),
        )
        if path is not None
    ]
    if recipe.start.backbone is None and recipe.start.detector is None:
        _warn_of_random_backbone(recipe, detector)
    if detector.config.backbone.timm is not None and "name" not in recipe.optimizer.model_fields_set:
        logger.warning(
            "optimizer.name is not given, so this timm backbone is trained with sgd; most learn better "
            "with optimizer.name adamw and optimizer.learning_rate 1e-4"
        )
    return detector, loaded


def _warn_of_random_backbone(recipe: Recipe, detector: VideoDetector[Any, Any]) -> None:
    kinds = {type(module).__name__ for module in detector.backbone.modules()}
    if any(kind.startswith("FrozenBatchNorm") for kind in kinds):  # torchvision's and timm's
        logger.warning(
            "frozen batch norm, and no weights to start from: this will hardly learn. Give start.backbone or "
            "start.detector, or train from scratch with backbone.norm group, or a timm model with layer norm"
        )
    if recipe.run.frozen_stages:
        logger.warning(
            "the first %d stages of the backbone are frozen, and no weights to start from: they stay random. "
            "Give start.backbone or start.detector, or run.frozen_stages 0",
            recipe.run.frozen_stages,
        )


@contextmanager
def held_folder(folder: Path, ranks: Ranks) -> Iterator[None]:
    """Make a run's folder and hold it, in the first process, while the block runs.

    What killed runs left is removed in the end, unless the block raises.

    Raises:
        InputError: Another run holds the folder, or a file in it may not be written.
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


def check_folder(folder: Path, *, resume: bool) -> None:
    """That a run can be put into a folder, which is made if it is missing.

    A run goes on if that is asked for, and if the same `torchrun` that began it has restarted its processes.

    Args:
        folder: Of the run.
        resume: Whether it may go on from a checkpoint.

    Raises:
        InputError: The folder cannot be written to, or holds a run that is not to be resumed.
    """
    mark, launch = folder / CHECKPOINTS / LAUNCH, launch_id()
    restarted = launch is not None and mark.exists() and read_text(mark) == launch
    if list_checkpoints(folder / CHECKPOINTS) and not (resume or restarted):
        raise InputError(f"{folder}: holds a run already; --resume goes on with it, or choose another folder")
    make_output_folder(folder)


def prepare_run(folder: Path, ranks: Ranks, *, resume: bool) -> None:
    """Make a run's folders, by the first process, and see that all processes see them.

    Raises:
        InputError: As `check_folder`, or this process does not see what the first one has written.
    """
    checkpoints, launch = folder / CHECKPOINTS, launch_id()
    name = f".seen-{uuid.uuid4().hex}"
    if ranks.first:
        check_folder(folder, resume=resume)
        make_output_folder(checkpoints)
        remove_leftovers(checkpoints, held=True)
        if launch is not None:
            with atomic_path(checkpoints / LAUNCH, ours=anything) as aside:
                aside.write_text(launch)
        (checkpoints / name).touch()
    name = ranks.agree(name)
    if not (checkpoints / name).exists():
        raise InputError(
            f"{folder}: expected on a disk that all processes see; process {ranks.rank} does not"
        )
    ranks.wait()
    if ranks.first:
        (checkpoints / name).unlink()


def forget_launch(folder: Path) -> None:
    """A run has come to its end or was stopped: the next `torchrun` is not to take itself for the same."""
    (folder / CHECKPOINTS / LAUNCH).unlink(missing_ok=True)


def write_recipe(folder: Path, recipe: Recipe) -> None:
    """Write a run's configuration to `recipe.json`.

    Raises:
        InputError: It cannot be written.
    """
    with atomic_path(folder / RECIPE) as aside:
        aside.write_text(json.dumps(MADE_BY | recipe.model_dump(mode="json"), indent=1) + "\n")


def newest_checkpoint(folder: Path, recipe: Recipe, ranks: Ranks) -> Checkpoint | None:
    """What a run goes on from, the same in all processes; None to begin.

    Raises:
        InputError: No checkpoint can be read; or it is of another recipe, in what may not change.
    """
    checkpoint = load_newest(folder / CHECKPOINTS) if ranks.first else None
    path = ranks.agree(None if checkpoint is None else checkpoint_path(folder / CHECKPOINTS, checkpoint.step))
    if path is not None and not ranks.first:
        checkpoint = load_checkpoint(path)
    for changed in changes(checkpoint, recipe):
        if not any(changed == may or changed.startswith(f"{may}.") for may in _MAY_CHANGE):
            raise InputError(
                f"{folder}: the run in it was begun with another {changed}; choose another folder"
            )
    return checkpoint


def changes(checkpoint: Checkpoint | None, recipe: Recipe) -> list[str]:
    """List the dotted paths of a recipe's values that differ from those of a checkpoint."""
    if checkpoint is None:
        return []
    return list(different(_with_present_keys(checkpoint), recipe.model_dump(mode="json")))


def _with_present_keys(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return a checkpoint's recipe as this version would have saved it."""
    saved = rename_keys(Recipe, checkpoint.recipe)
    try:
        settings_type = config_type(checkpoint.config, origin="")
        for key in ("settings", "settings_if_any"):
            saved[key] = {rename_path(settings_type, path): value for path, value in saved[key].items()}
        return validate(Recipe, saved, origin="").model_dump(mode="json")
    except (AttributeError, InputError, KeyError):  # edited by hand; `different` names what is not as it was
        return saved


def different(one: dict[str, Any], other: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Dotted paths of values that differ."""
    for key in sorted(one.keys() | other.keys()):
        a, b = one.get(key), other.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            yield from different(a, b, f"{prefix}{key}.")
        elif a != b:
            yield f"{prefix}{key}"
