"""Load a detector from a configuration, from weights or from both, and convert weights."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from megavid.checkpoints.download import fetch
from megavid.checkpoints.other_libraries import is_outside_name, load_outside_detector
from megavid.checkpoints.published import Published, find_source, library_of, published_weights
from megavid.checkpoints.weights import (
    FlowNetWeights,
    Weights,
    converted_from,
    find_weights,
    load_state,
    read_weights,
    write_weights,
)
from megavid.core.config import read_mapping, value_at, with_overrides
from megavid.core.errors import InputError
from megavid.core.files.paths import is_file
from megavid.core.files.shipped import shipped_files
from megavid.core.text import printable
from megavid.models.acceleration.inference import FAST, Inference
from megavid.models.base.detector_config import DetectorConfig
from megavid.models.base.video_detector import VideoDetector
from megavid.models.layers.flownet import FlowNet
from megavid.models.method_registry import build_detector, detector_config, rename_config_keys

_FLOWNET_WIDTH = 64
"""Number of channels of the first convolution in the published FlowNet."""


def shipped_configs() -> list[str]:
    """Return the names of the configurations that ship with the package."""
    return list(shipped_files("configs", ".yaml"))


def load_detector(
    config: str | os.PathLike[str] | None = None,
    *,
    weights: str | os.PathLike[str] | None = None,
    device: str | torch.device = "auto",
    min_size: int | None = None,
    max_size: int | None = None,
    overrides: Mapping[str, Any] | None = None,
    inference: Inference | None = FAST,
) -> VideoDetector:
    """Load a detector, ready for inference.

    Args:
        config: Name of a shipped configuration (`shipped_configs`), or path of a YAML file. None takes the
            configuration stored with the weights or, if there is none, infers it from their tensors. Or name
            of a detector of another library, such as "torchvision:fasterrcnn_resnet50_fpn_v2", or of a file
            of boxes that any tool saved for a video, such as "boxes:det.txt".
        weights: A `.safetensors` file of megavid, a checkpoint of the original release, or the name or
            address of weights (see `fetch_weights`). None gives random weights. For a detector of another
            library, a file of that library; None for the weights that the library downloads.
        device: Device to load onto; "auto" takes the first available of cuda, mps and cpu.
        min_size: Shorter side of the network's input, in pixels; None keeps the configured value.
        max_size: Limit on the longer side of the network's input, in pixels; None keeps the configured value.
        overrides: Configuration values to replace, by dotted path, such as {"method.window": 6}.
        inference: The dtype and speed-ups of inference. None leaves the network as it was built, for
            training or saving.

    Raises:
        InputError: A file, a key or a value is wrong, or weights and configuration do not fit each other.

    Examples:
        >>> detector = load_detector("mega_r101", weights="MEGA_R_101.pth", device="cpu")
        >>> detector = load_detector("torchvision:fasterrcnn_resnet50_fpn_v2", device="cpu")
    """
    place = find_device(device)
    sizes = {"input.min_size": min_size, "input.max_size": max_size}
    changes = {path: value for path, value in sizes.items() if value is not None} | dict(overrides or {})
    if is_outside_name(config):
        return load_outside_detector(
            str(config), weights=weights, device=place, overrides=changes, inference=inference
        )
    read = None if weights is None else _read_detector(fetch_weights(weights))
    data, origin = _config_data(config, read)
    typed = detector_config(with_overrides(data, changes), origin=origin)
    detector = build_detector(typed)
    if read is not None:
        _check_match(typed, read, origin)
        load_state(detector, read.state, origin=str(read.path))
    detector = detector.to(place)
    if inference is not None:
        detector.prepare(inference)
    return detector


def fetch_weights(name: str | os.PathLike[str]) -> Path:
    """Return the path of a detector's or a flow network's weights, and download them if that is necessary.

    Downloaded weights are checked, as in `convert_weights`, and kept in the cache as `.safetensors`.

    Args:
        name: Name of shipped or published weights (`megavid weights` lists them), an https:// or file://
            address, or a path.

    Raises:
        InputError: There is no such file, or it cannot be downloaded or converted.
    """
    source = find_source(name)
    if source is None:
        if library_of(name) is None and is_outside_name(os.fspath(name)):
            raise InputError(f"{name}: expected weights of megavid; --detector takes this name")
        return find_weights(name)
    return fetch(source, partial(_convert_download, published_weights().get(source.name)))


def convert_weights(
    source: Path, target: Path, *, config: str | os.PathLike[str] | None = None
) -> VideoDetector | None:
    """Convert weights to a `.safetensors` file that contains their configuration.

    Args:
        source: File, name or address that `load_detector` or `load_flownet` reads.
        target: Path that ends in `.safetensors`; the file appears whole or not at all.
        config: Configuration of the detector, as in `load_detector`.

    Returns:
        The detector, or None if the source holds only FlowNet's weights.

    Raises:
        InputError: See `load_detector`; or the target does not end in `.safetensors` or cannot be written.
    """
    if is_outside_name(os.fspath(source)):
        raise InputError(f"{source}: expected a file; a detector of another library cannot be converted")
    if target.suffix != ".safetensors":
        raise InputError(f"{target}: expected a file name that ends in .safetensors")
    read = read_weights(fetch_weights(source))
    about = converted_from(read.path, licence=read.licence)
    if isinstance(read, FlowNetWeights):
        if config is not None:
            raise InputError(f"{source}: expected no configuration for FlowNet's weights, got {config}")
        load_state(FlowNet(width=_FLOWNET_WIDTH), read.state, origin=str(source), target="FlowNet")
        write_weights(target, read.state, config=None, about=about)
        return None
    data, origin = _config_data(config, read)
    typed = detector_config(data, origin=origin)
    _check_match(typed, read, origin)
    detector = build_detector(typed)
    load_state(detector, read.state, origin=str(source))
    write_weights(target, read.state, config=typed.model_dump(mode="json"), about=about)
    return detector


def load_flownet(detector: VideoDetector, weights: str | os.PathLike[str]) -> None:
    """Load FlowNet's weights into a detector that has a flow network, as a start for training DFF or FGFA.

    Args:
        detector: Detector to change in place; to train it, load it with `inference=None`.
        weights: The separate FlowNet file of the original release, that file converted by `convert_weights`,
            or its name, "flownet".

    Raises:
        InputError: The file is broken or does not hold FlowNet alone, or the detector has no flow network.
    """
    network = next((module for module in detector.modules() if isinstance(module, FlowNet)), None)
    if network is None:
        raise InputError(
            f"{os.fspath(weights)}: {detector.config.method.name} has no flow network to load it into"
        )
    read = read_weights(fetch_weights(weights))
    if not isinstance(read, FlowNetWeights):
        raise InputError(f"{read.path}: expected FlowNet's weights alone, got a whole detector")
    load_state(network, read.state, origin=str(read.path), target="the flow network")


def find_device(device: str | torch.device) -> torch.device:
    """Return the device with a given name; "auto" selects the first available of cuda, mps and cpu.

    Raises:
        InputError: The device is not available.
    """
    kinds = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    available = [kind for kind, is_available in kinds.items() if is_available]
    if device == "auto":
        return torch.device(available[0])
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise InputError(f"device: expected auto, cpu, cuda or mps, got {device!r}") from error
    number = found.index or 0
    if found.type not in available or (found.type == "cuda" and number >= torch.cuda.device_count()):
        raise InputError(
            f"device: expected one of {', '.join(available)} on this machine, got {str(device)!r}"
        )
    return found


def read_config(config: str | os.PathLike[str]) -> tuple[dict[str, Any], str]:
    """Read a shipped configuration or a YAML file.

    Returns:
        Nested values, and a name for their source to use in messages.

    Raises:
        InputError: The configuration does not exist or cannot be read.
    """
    name = os.fspath(config)
    shipped = shipped_files("configs", ".yaml")
    if name in shipped:
        return read_mapping(shipped[name]), name
    if not is_file(Path(name)):
        raise InputError(
            f"{printable(name)}: no such configuration; expected a YAML file or one of {', '.join(shipped)}"
        )
    return read_mapping(Path(name)), name


def _convert_download(entry: Published | None, source: Path, target: Path) -> None:
    """Convert downloaded weights, which must be those that the table of published weights describes."""
    if entry is not None and entry.kind == "flow" and not isinstance(read_weights(source), FlowNetWeights):
        raise InputError(f"{source}: expected FlowNet's weights alone, got a whole detector")
    config = entry.model if entry is not None and entry.kind == "detector" else None
    convert_weights(source, target, config=config)


def _read_detector(path: Path) -> Weights:
    read = read_weights(path)
    if isinstance(read, FlowNetWeights):
        raise InputError(
            f"{path}: expected a whole detector, got FlowNet's weights, which `load_flownet` loads into one"
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
        origin = str(weights.path)
        return rename_config_keys(weights.config, origin=origin), origin
    inferred = weights.inferred
    data, _ = read_config(f"{inferred['method.name']}_r{inferred['backbone.depth']}")
    names = data["classes"]
    if weights.num_classes != len(names):
        # A fine-tuned checkpoint of the original release does not contain its class names.
        names = [f"class_{i + 1}" for i in range(weights.num_classes)]
    return with_overrides(data, {**inferred, "classes": names}), str(weights.path)


def _check_match(config: DetectorConfig, weights: Weights, origin: str) -> None:
    """Check that weights fit a configuration, with clearer messages than those of `load_state`.

    Raises:
        InputError: The weights and the configuration differ in method, depth or classes.
    """
    values = config.model_dump(mode="json")
    compared: dict[str, tuple[Any, Any]] = {
        path: (weights.inferred[path], value_at(values, path))
        for path in ("method.name", "backbone.depth")
        if path in weights.inferred
    }
    compared["number of classes"] = (weights.num_classes, len(config.classes))
    for key, (theirs, ours) in compared.items():
        if theirs != ours:
            raise InputError(f"{weights.path}: its {key} is {theirs}, but {origin} has {ours}")
    names = weights.config["classes"] if weights.config else list(config.classes)
    for theirs, ours in zip(names, config.classes, strict=True):
        if theirs != ours:
            raise InputError(
                f"{weights.path}: one of its classes is {theirs!r}, which {origin} calls {ours!r}"
            )
