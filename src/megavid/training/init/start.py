"""The weights that a proposed recipe starts from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from megavid.checkpoints.load import fetch_weights, read_config
from megavid.checkpoints.published import find_source, library_of
from megavid.core.config import validate
from megavid.core.errors import InputError
from megavid.core.files.paths import is_file
from megavid.models.layers.timm_parts import PRETRAINED
from megavid.training.recipe import StartConfig


def read_start(overrides: Mapping[str, Any]) -> StartConfig:
    """Collect the section `start` from the values that the user gives by dotted path.

    Raises:
        InputError: A key is unknown, or the weight file for the backbone or the flow network is missing.
    """
    given = {path.removeprefix("start."): v for path, v in overrides.items() if path.startswith("start.")}
    start = validate(StartConfig, given, origin="start")
    for name in ("backbone", "flow"):
        weights = getattr(start, name)
        if weights is None or weights == str(PRETRAINED) or library_of(weights) is not None:
            continue
        if find_source(weights, backbone=name == "backbone") is None and not is_file(Path(weights)):
            raise InputError(f"--start.{name}: {weights}: no such file, and no name of `megavid weights`")
    return start


def check_start(model: str | None, overrides: Mapping[str, Any]) -> None:
    """Check that the model and the weights to start from exist, so that errors come before data is read.

    Args:
        model: Name of a shipped configuration, or path of a YAML file; None for the default model.
        overrides: Values that the user gives, by dotted path.

    Raises:
        InputError: The model or a weight file is missing or cannot be read.
    """
    if model is not None:
        read_config(model)
    start = read_start(overrides)
    if start.detector is not None:
        fetch_weights(start.detector)
