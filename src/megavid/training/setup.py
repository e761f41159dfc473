"""Build the detector that a recipe trains."""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from megavid.checkpoints.load import read_config
from megavid.checkpoints.starting_weights import Loaded, load_backbone, load_flow, load_from_detector
from megavid.core.config import with_overrides
from megavid.models.base.video_detector import VideoDetector
from megavid.models.layers.timm_parts import TimmPart
from megavid.models.method_registry import build_detector, detector_config
from megavid.training.recipe import Recipe

logger = logging.getLogger(__name__)


def make_detector(
    recipe: Recipe, classes: tuple[str, ...], *, begins: bool
) -> tuple[VideoDetector, list[Loaded]]:
    """Build a recipe's detector, and load the weights to start from.

    Args:
        recipe: The recipe.
        classes: Classes of the training data.
        begins: Whether a new run begins. If not, no weights are loaded: they come from a checkpoint.

    Returns:
        The detector, and a description of each weight file that was loaded.

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
    detector.initialize()
    loaded = [
        load(detector, Path(name))
        for load, name in (
            (load_backbone, recipe.start.backbone),
            (load_from_detector, recipe.start.detector),
            (load_flow, recipe.start.flow),
        )
        if name is not None
    ]
    if recipe.start.backbone is None and recipe.start.detector is None:
        _warn_of_random_backbone(recipe, detector)
    if any(isinstance(module, TimmPart) for module in detector.modules()):
        _warn_of_default_optimizer(recipe)
    return detector, loaded


def _warn_of_default_optimizer(recipe: Recipe) -> None:
    if "name" not in recipe.optimizer.model_fields_set:
        logger.warning(
            "optimizer.name is not given, so this timm backbone is trained with sgd; most learn better "
            "with optimizer.name adamw and optimizer.learning_rate 1e-4"
        )


def _warn_of_random_backbone(recipe: Recipe, detector: VideoDetector) -> None:
    kinds = {type(module).__name__ for module in detector.modules()}
    if any(kind.startswith("FrozenBatchNorm") for kind in kinds):  # class names in torchvision and timm
        logger.warning(
            "the batch norm is frozen, and there are no weights to start from: this will hardly learn. Give "
            "start.backbone or start.detector, or train from scratch with backbone.norm group, or a timm "
            "model with layer norm"
        )
    if recipe.run.frozen_stages:
        logger.warning(
            "the first %d stages of the backbone are frozen, and there are no weights to start from, so they "
            "stay random. Give start.backbone or start.detector, or run.frozen_stages 0",
            recipe.run.frozen_stages,
        )
