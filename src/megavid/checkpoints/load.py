"""From a name, a YAML file or a weight file to a detector that is ready to run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import torch

from megavid.checkpoints.weights import (
    FlowNetWeights,
    Weights,
    converted_from,
    load_state,
    read_weights,
    write_weights,
)
from megavid.core.config import read_mapping, with_overrides
from megavid.core.errors import InputError
from megavid.core.files.paths import is_file
from megavid.core.text import printable
from megavid.models.acceleration.prepare import prepare
from megavid.models.base.detector import DetectorConfig, VideoDetector
from megavid.models.base.inference import FAST, Inference
from megavid.models.layers.flownet import FlowNet
from megavid.models.methods import build_detector, detector_config

_FLOWNET_WIDTH = 64
"""Of the published FlowNet."""

_CONFIGS = resources.files("megavid") / "configs"


def shipped_configs() -> list[str]:
    """Names of the configurations that come with the package."""
    names = (Path(entry.name) for entry in _CONFIGS.iterdir())
    return sorted(name.stem for name in names if name.suffix == ".yaml")


def load_detector(
    config: str | os.PathLike[str] | None = None,
    *,
    weights: str | os.PathLike[str] | None = None,
    device: str | torch.device = "auto",
    min_size: int | None = None,
    max_size: int | None = None,
    overrides: Mapping[str, Any] | None = None,
    inference: Inference | None = FAST,
) -> VideoDetector[Any, Any]:
    """A detector, ready for inference.

    Args:
        config: A shipped configuration's name (`shipped_configs`), a YAML file, or None when the weights
            carry their configuration or their names and shapes tell it.
        weights: megavid's `.safetensors`, a checkpoint of the original release as it is, or a name of
            `shipped_weights`. None gives random, untrained weights.
        device: "auto" takes the first of cuda, mps and cpu that is there.
        min_size: Of the network's input, pixels (`InputConfig`); None leaves the configured.
        max_size: The same.
        overrides: Other values of the configuration by dotted path, such as {"method.window": 6}.
        inference: How it computes: in which type, and what makes it fast. None leaves the network as it was
            built, so that it can be trained or saved.

    Raises:
        InputError: A file, a key or a value is wrong, or weights and configuration don't fit each other.

    Examples:
        >>> detector = load_detector("mega_r101", weights="MEGA_R_101.pth", device="cpu")
    """
    place = find_device(device)
    read = None if weights is None else _read_detector(Path(weights))
    data, origin = _config_data(config, read)
    sizes = {"input.min_size": min_size, "input.max_size": max_size}
    changes = {path: value for path, value in sizes.items() if value is not None} | dict(overrides or {})
    typed = detector_config(with_overrides(data, changes), origin=origin)
    detector = build_detector(typed)
    if read is not None:
        _check_match(typed, read, origin)
        load_state(detector, read.state, origin=str(read.path))
    detector = detector.to(place)
    if inference is not None:
        prepare(detector, inference)
    return detector


def convert_weights(
    source: Path, target: Path, *, config: str | os.PathLike[str] | None = None
) -> DetectorConfig[Any] | None:
    """Write weights once as `.safetensors` with their configuration.

    Args:
        source: What `load_detector` or `load_flownet` reads.
        target: A path that ends in `.safetensors`; it appears whole or not at all.
        config: As in `load_detector`.

    Returns:
        The configuration; None for FlowNet's weights, which have none.

    Raises:
        InputError: As `load_detector`; or the target has another suffix or cannot be written.
    """
    if target.suffix != ".safetensors":
        raise InputError(f"{target}: expected a file name that ends in .safetensors")
    read = read_weights(source)
    about = converted_from(read.path, licence=read.licence)
    if isinstance(read, FlowNetWeights):
        if config is not None:
            raise InputError(f"{source}: holds FlowNet's weights only, which take no configuration")
        load_state(FlowNet(width=_FLOWNET_WIDTH), read.state, origin=str(source), target="FlowNet")
        write_weights(target, read.state, config=None, about=about)
        return None
    data, origin = _config_data(config, read)
    typed = detector_config(data, origin=origin)
    _check_match(typed, read, origin)
    load_state(build_detector(typed), read.state, origin=str(source))
    write_weights(target, read.state, config=typed.model_dump(mode="json"), about=about)
    return typed


def load_flownet(detector: VideoDetector[Any, Any], weights: str | os.PathLike[str]) -> None:
    """Put FlowNet's weights into a detector that has a flow network: what training DFF and FGFA starts from.

    Args:
        detector: Changed in place; to train it, load it with `inference=None`.
        weights: The FlowNet that the original release published as a file of its own, or what
            `convert_weights` made of it.

    Raises:
        InputError: The file holds something else or is broken, or the detector has no flow network.
    """
    network = next((module for module in detector.modules() if isinstance(module, FlowNet)), None)
    if network is None:
        raise InputError(
            f"{os.fspath(weights)}: {detector.config.method.name} has no flow network to load it into"
        )
    read = read_weights(Path(weights))
    if not isinstance(read, FlowNetWeights):
        raise InputError(f"{read.path}: expected FlowNet's weights alone; this is a whole detector")
    load_state(network, read.state, origin=str(read.path), target="the flow network")


def find_device(device: str | torch.device) -> torch.device:
    """The device of a name; "auto" is the first of cuda, mps and cpu that is there.

    Raises:
        InputError: There is no such device here.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return torch.device(next(name for name, present in there.items() if present))
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise InputError(f"device: expected auto, cpu, cuda or mps, got {device!r}") from error
    number = found.index or 0
    if not there.get(found.type, False) or (found.type == "cuda" and number >= torch.cuda.device_count()):
        present = ", ".join(name for name, is_there in there.items() if is_there)
        raise InputError(f"device: {str(device)!r} is not available here; there is {present}")
    return found


def read_config(config: str | os.PathLike[str]) -> tuple[dict[str, Any], str]:
    """The values of a shipped configuration or a YAML file, and its name for messages.

    Raises:
        InputError: There is no such configuration.
    """
    name = os.fspath(config)
    if name in shipped_configs():
        with resources.as_file(_CONFIGS / f"{name}.yaml") as path:
            return read_mapping(path), name
    if not is_file(Path(name)):
        raise InputError(
            f"{printable(name)}: no such configuration; expected a YAML file or one of "
            f"{', '.join(shipped_configs())}"
        )
    return read_mapping(Path(name)), name


def _read_detector(path: Path) -> Weights:
    read = read_weights(path)
    if isinstance(read, FlowNetWeights):
        raise InputError(
            f"{path}: holds FlowNet's weights only, not a whole detector; `load_flownet` puts them into one"
        )
    return read


def _config_data(
    config: str | os.PathLike[str] | None, weights: Weights | None
) -> tuple[dict[str, Any], str]:
    if config is not None:
        return read_config(config)
    if weights is None:
        raise InputError(f"expected a configuration, one of {', '.join(shipped_configs())}, or weights")
    if weights.config is not None:
        return weights.config, str(weights.path)
    told = weights.inferred
    data, _ = read_config(f"{told['method.name']}_r{told['backbone.depth']}")
    names = data["classes"]
    if weights.num_classes != len(names):
        # The names of a fine-tuned checkpoint's classes are nowhere in it.
        names = [f"class_{i + 1}" for i in range(weights.num_classes)]
    return with_overrides(data, {**told, "classes": names}), str(weights.path)


def _check_match(config: DetectorConfig[Any], weights: Weights, origin: str) -> None:
    """What can be said in plain words before single tensors are compared."""
    told = {
        "method": (weights.inferred["method.name"], config.method.name),
        "backbone.depth": (weights.inferred["backbone.depth"], config.backbone.depth),
        "number of classes": (weights.num_classes, len(config.classes)),
    }
    for key, (theirs, ours) in told.items():
        if theirs != ours:
            raise InputError(f"{weights.path}: its {key} is {theirs}, but {origin} has {ours}")
    names = weights.config["classes"] if weights.config else list(config.classes)
    for theirs, ours in zip(names, config.classes, strict=True):
        if theirs != ours:
            raise InputError(
                f"{weights.path}: one of its classes is {theirs!r}, which {origin} calls {ours!r}"
            )
