"""Read weights safely from `.safetensors` or the original release's `.pth`, and write `.safetensors`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field
from torch import Tensor, nn

from megavid.checkpoints import official
from megavid.checkpoints.published import find_source, library_of
from megavid.checkpoints.safetensors_files import read_safetensors, write_safetensors
from megavid.checkpoints.tensors import check_tensors
from megavid.checkpoints.weights_cache import find_cached
from megavid.core.config import Config, validate, value_at
from megavid.core.errors import InputError
from megavid.core.files.checksums import file_sha256
from megavid.core.files.json_yaml import load_json
from megavid.core.files.paths import exists
from megavid.core.files.shipped import shipped_files
from megavid.core.files.signatures import is_safetensors, read_head
from megavid.core.files.torch_files import is_torch_file, load_torch_file

OFFICIAL_LICENCE = (
    "Converted from a checkpoint of the original MEGA release, whose terms (non-commercial) may carry over."
)


_FLOWNET = "flownet"
"""Value of "part" in the metadata of a `.safetensors` file that holds FlowNet instead of a detector."""

_TENSORS_ALONE = (
    "; if you trust it, save its tensors alone: "
    'torch.save(torch.load("{}", weights_only=False)["model"], "tensors.pth")'
)


@dataclass(frozen=True, eq=False)
class Weights:
    """Content of a file that holds a detector's weights.

    Attributes:
        path: File that was read.
        state: Tensors under megavid's names.
        config: Configuration stored in the file, as nested values; None for an official checkpoint.
        inferred: Settings inferred from the file, by dotted path: "method.name", "backbone.depth" and, for an
            official checkpoint, other settings that follow from the shapes of its tensors.
        num_classes: Number of classes, background excluded.
        licence: Note on the license of the weights.
    """

    path: Path
    state: dict[str, Tensor]
    config: dict[str, Any] | None
    inferred: dict[str, Any]
    num_classes: int
    licence: str


@dataclass(frozen=True, eq=False)
class FlowNetWeights:
    """Content of a file that holds only FlowNet's weights.

    Attributes:
        path: File that was read.
        state: Tensors under the names of `models.layers.flownet.FlowNet`.
        licence: Note on the license of the weights.
    """

    path: Path
    state: dict[str, Tensor]
    licence: str


def find_weights(name: str | os.PathLike[str]) -> Path:
    """Return the path of a weight file on this machine; `load.fetch_weights` also downloads.

    Args:
        name: Name of shipped or published weights, an address, or a path.

    Raises:
        InputError: There is no such file, or the cache does not have it.
    """
    name, shipped = os.fspath(name), shipped_files("weights", ".safetensors")
    if name in shipped:
        return shipped[name]
    source = find_source(name)
    if source is not None:
        cached = find_cached(source)
        if cached is None:
            raise InputError(f"{name}: not downloaded yet: `megavid weights {source.name}` downloads it")
        return cached
    if not exists(Path(name)):
        if library_of(name) is not None:
            raise InputError(
                f"{name}: expected weights of megavid; --detector takes detectors of other libraries, and "
                "start.backbone their backbones"
            )
        raise InputError(
            f"{name}: no such weight file; expected one, or a name: {', '.join(shipped)} (`megavid weights` "
            "lists all)"
        )
    return Path(name)


def read_weights(path: Path) -> Weights | FlowNetWeights:
    """Read a megavid `.safetensors` file, or a checkpoint or the FlowNet file of the original release.

    The kind of the file is recognized from its content, not its name. Nothing in it is executed.

    Args:
        path: Path of a file, or name of shipped weights.

    Raises:
        InputError: The file is missing, broken, unsafe or of another kind.
    """
    path = find_weights(path)
    head = read_head(path)
    if is_safetensors(head) or (path.suffix == ".safetensors" and not is_torch_file(head)):
        return _read_safetensors(path)
    return _read_checkpoint(path)


def read_state_dict(path: Path, *, under: Sequence[str] = ("model", "state_dict")) -> dict[str, Tensor]:
    """Return the tensors of a PyTorch checkpoint, by name.

    Args:
        path: File to read.
        under: Keys under which to look for the tensors, in this order; if the file has none of these keys,
            the file itself must be a dictionary of tensors.

    Raises:
        InputError: The file is missing, broken or of another kind, or `check_tensors` rejects a tensor.
    """
    data = load_torch_file(
        path, expected="a PyTorch checkpoint of tensors only", way_out=_TENSORS_ALONE.format(path.name)
    )
    inner = [data.get(key) for key in under] if isinstance(data, dict) else []
    state = next((value for value in inner if isinstance(value, dict)), data)
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    ):
        raise InputError(
            f"{path}: expected {{name: tensor}}, alone or under 'model' or 'state_dict', as the original "
            "release publishes"
        )
    check_tensors(state, path)
    return state


def write_weights(
    path: Path, state: Mapping[str, Tensor], *, config: Mapping[str, Any] | None, about: Mapping[str, str]
) -> None:
    """Write a `.safetensors` file; a detector's configuration and class names go into its metadata.

    Args:
        path: File to write, atomically.
        state: Tensors under megavid's names.
        config: Nested values of a `DetectorConfig`; None for FlowNet's weights alone.
        about: Further metadata, such as the origin of the weights (`converted_from`).

    Raises:
        InputError: The file cannot be written.
    """
    metadata = {"format": "megavid", **about}
    if config is None:
        metadata |= {"part": _FLOWNET}
    else:
        metadata |= {"config": json.dumps(config), "class_names": json.dumps(config["classes"])}
    write_safetensors(path, state, metadata)


def converted_from(source: Path, *, licence: str) -> dict[str, str]:
    """Return metadata for converted weights: name and SHA-256 of the source file, and a license note."""
    return {"source": source.name, "source_sha256": file_sha256(source), "licence": licence}


def describe_weights(name: str | os.PathLike[str]) -> dict[str, str]:
    """Return the file name and SHA-256 of weights; predictions made with these weights store both."""
    path = find_weights(name)
    return {"weights": path.name, "weights_sha256": file_sha256(path)}


def load_state(
    model: nn.Module, state: Mapping[str, Tensor], *, origin: str, target: str = "the configuration"
) -> None:
    """Load a state dict into a model, whose tensors must have the same names, shapes and kinds of numbers.

    Args:
        model: Model to load into.
        state: Tensors by name.
        origin: Source of the tensors, for messages.
        target: What the tensors must fit, for messages.

    Raises:
        InputError: Tensors are missing, unexpected or of another shape or type; the message names some of
            them.
    """
    wanted = model.state_dict()
    problems = []
    if missing := sorted(wanted.keys() - state.keys()):
        problems.append(f"{len(missing)} missing ({_some(missing)})")
    if unexpected := sorted(state.keys() - wanted.keys()):
        problems.append(f"{len(unexpected)} unexpected ({_some(unexpected)})")
    shapes = [
        f"{name} {tuple(state[name].shape)} for {tuple(wanted[name].shape)}"
        for name in sorted(wanted.keys() & state.keys())
        if state[name].shape != wanted[name].shape
    ]
    if shapes:
        problems.append(f"{len(shapes)} of another shape ({_some(shapes)})")
    kinds = [
        f"{name} {state[name].dtype} for {wanted[name].dtype}"
        for name in sorted(wanted.keys() & state.keys())
        if state[name].is_floating_point() != wanted[name].is_floating_point()
    ]
    if kinds:
        problems.append(f"{len(kinds)} of another type ({_some(kinds)})")
    if problems:
        raise InputError(f"{origin}: the weights don't fit {target}: tensors {'; '.join(problems)}")
    model.load_state_dict(dict(state))


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


class _Part(Config):
    """Base class for parts of a file's metadata that are read on their own; other keys are ignored."""

    model_config = ConfigDict(extra="ignore")


class _Method(_Part):
    name: str


class _Config(_Part):
    classes: list[str] = Field(min_length=1)
    method: _Method


class _Metadata(_Part):
    """Metadata of megavid's `.safetensors` files; a file with FlowNet alone has no `config`."""

    part: str | None = None
    config: str | None = None
    licence: str = ""


def _read_safetensors(path: Path) -> Weights | FlowNetWeights:
    data, state = read_safetensors(path)
    metadata = validate(_Metadata, data, origin=f"{path}: its metadata")
    if metadata.part == _FLOWNET:
        return FlowNetWeights(path, state, metadata.licence)
    if metadata.config is None:
        raise InputError(f"{path}: has no megavid configuration in its metadata")
    origin = f"{path}: the configuration in its metadata is broken"
    config = load_json(metadata.config, origin=origin)
    if not isinstance(config, dict):
        raise InputError(f"{origin}: expected a mapping of keys, got {type(config).__name__}")
    known = validate(_Config, config, origin=origin)
    compared = {key: value_at(config, key) for key in ("method.name", "backbone.depth")}
    inferred = {key: value for key, value in compared.items() if value is not None}
    return Weights(path, state, config, inferred, len(known.classes), metadata.licence)


def _read_checkpoint(path: Path) -> Weights | FlowNetWeights:
    state = read_state_dict(path)
    if not official.is_official(state):
        if official.is_official_flownet(state):
            return FlowNetWeights(path, official.flownet_from_official(state), OFFICIAL_LICENCE)
        raise InputError(f"{path}: its tensors are not named as in the original release's checkpoints")
    state = official.strip_wrapper(state)
    try:
        inferred = official.infer_settings(state)
        num_classes = official.infer_num_classes(state)
        renamed = official.from_official(state)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return Weights(path, renamed, None, inferred, num_classes, OFFICIAL_LICENCE)
