"""Weight files: reading the original's `.pth` safely, reading and writing megavid's `.safetensors`."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from megavid.convert import official
from megavid.core.errors import InputError
from megavid.core.files import atomic_path

OFFICIAL_LICENCE = (
    "Converted from a checkpoint of the original MEGA release, whose terms (non-commercial) may carry over."
)

_SHIPPED = resources.files("megavid") / "weights"

_FLOWNET = "flownet"
"""What a `.safetensors` file that is no whole detector says it is."""


@dataclass(frozen=True, eq=False)
class Weights:
    """A weight file.

    Attributes:
        path: Where it was read from.
        state: Tensors under megavid's names.
        config: The configuration it carries, as nested values; None in an official checkpoint.
        told: What is known of its configuration, by dotted path: "method.name", "backbone.depth" and,
            for an official checkpoint, all else that its shapes tell.
        num_classes: Number of classes, background excluded.
        licence: Note on the terms of the weights.
    """

    path: Path
    state: dict[str, Tensor]
    config: dict[str, Any] | None
    told: dict[str, Any]
    num_classes: int
    licence: str


@dataclass(frozen=True, eq=False)
class FlowNetWeights:
    """A file of FlowNet's weights alone.

    Attributes:
        path: Where it was read from.
        state: Tensors under the names of `nn.flownet.FlowNet`.
        licence: Note on the terms of the weights.
    """

    path: Path
    state: dict[str, Tensor]
    licence: str


def shipped_weights() -> list[str]:
    """Names of the weights that come with the package."""
    names = (Path(entry.name) for entry in _SHIPPED.iterdir())
    return sorted(name.stem for name in names if name.suffix == ".safetensors")


def find_weights(name: str | os.PathLike[str]) -> Path:
    """The file of shipped weights, or else the path as it is."""
    name = os.fspath(name)
    return Path(str(_SHIPPED / f"{name}.safetensors")) if name in shipped_weights() else Path(name)


def read_weights(path: Path) -> Weights | FlowNetWeights:
    """A `.safetensors` file of megavid's, a checkpoint of the original release, or its FlowNet.

    A checkpoint is read with `weights_only=True`: nothing in it is executed.

    Args:
        path: A file, or a name of `shipped_weights`.

    Raises:
        InputError: There is no such file, or it is broken, unsafe or something else.
    """
    path = find_weights(path)
    if not os.path.isfile(path):  # noqa: PTH113 - False for names that are too long, too
        shipped = ", ".join(shipped_weights())
        raise InputError(f"{path}: no such weight file; expected one, or a name: {shipped}")
    return _read_safetensors(path) if path.suffix == ".safetensors" else _read_checkpoint(path)


def write_weights(
    path: Path, state: Mapping[str, Tensor], *, config: Mapping[str, Any] | None, about: Mapping[str, str]
) -> None:
    """A `.safetensors` file with its configuration, class names and what else is to be said as metadata.

    Args:
        path: Appears whole or not at all.
        state: Tensors under megavid's names.
        config: Nested values of a `DetectorConfig`; None for FlowNet's weights alone.
        about: Where the weights come from, such as what `converted_from` says.

    Raises:
        InputError: It cannot be written.
    """
    metadata = {"format": "megavid", **about}
    if config is None:
        metadata |= {"part": _FLOWNET}
    else:
        metadata |= {"config": json.dumps(config), "class_names": json.dumps(config["classes"])}
    # Copies, since safetensors refuses tensors that share memory.
    tensors = {n: t.clone(memory_format=torch.contiguous_format) for n, t in state.items()}
    with atomic_path(path) as aside:
        mode = aside.stat().st_mode
        try:
            safetensors.torch.save_file(tensors, aside, metadata)
        except safetensors.SafetensorError as error:  # what it says of a full disk, too
            raise InputError(f"{path}: cannot be written: {error}") from error
        aside.chmod(mode)  # safetensors lets nobody else read it


def converted_from(source: Path, *, licence: str) -> dict[str, str]:
    """What a converted file says of itself: its source's name and SHA-256, and a note on its terms."""
    return {"source": source.name, "source_sha256": file_sha256(source), "licence": licence}


def describe_weights(name: str | os.PathLike[str]) -> dict[str, str]:
    """What predictions say of the weights that made them: the file's name and SHA-256."""
    path = find_weights(name)
    return {"weights": path.name, "weights_sha256": file_sha256(path)}


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_state(
    model: nn.Module, state: Mapping[str, Tensor], *, origin: str, target: str = "the configuration"
) -> None:
    """Put a state dict into a model; both must have the same names and shapes.

    Args:
        origin: Where the state comes from, for messages.
        target: What it has to fit, for messages.

    Raises:
        InputError: Names the tensors that are missing, unexpected or of another shape.
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
    if problems:
        raise InputError(f"{origin}: the weights don't fit {target}: tensors {'; '.join(problems)}")
    model.load_state_dict(dict(state))


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _read_safetensors(path: Path) -> Weights | FlowNetWeights:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, safetensors.SafetensorError) as error:
        raise InputError(f"{path}: no readable safetensors file: {error}") from error
    if metadata.get("part") == _FLOWNET:
        return FlowNetWeights(path, state, metadata.get("licence", ""))
    if "config" not in metadata:
        raise InputError(f"{path}: has no megavid configuration in its metadata")
    try:
        config = json.loads(metadata["config"])
        told = {"method.name": config["method"]["name"], "backbone.depth": config["backbone"]["depth"]}
        num_classes = len(config["classes"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: the configuration in its metadata is broken: {error!r}") from error
    return Weights(path, state, config, told, num_classes, metadata.get("licence", ""))


def _read_checkpoint(path: Path) -> Weights | FlowNetWeights:
    try:
        with warnings.catch_warnings():  # of odd pickles, which the error says better
            warnings.simplefilter("ignore")
            data = torch.load(path, map_location="cpu", weights_only=True)
    # Bytes that are no checkpoint make the unpickler fail in any of a dozen ways.
    except Exception as error:
        reason = str(error).strip().split("\n")[0].split(". ")[0] or type(error).__name__
        raise InputError(
            f"{path}: expected a PyTorch checkpoint of tensors only, and can't read it as one: {reason}"
        ) from error
    state = _state_dict(data, path)
    if not official.is_official(state):
        if official.is_official_flownet(state):
            return FlowNetWeights(path, official.flownet_from_official(state), OFFICIAL_LICENCE)
        raise InputError(f"{path}: its tensors are not named as in the original release's checkpoints")
    state = official.without_wrapper(state)
    try:
        told = official.official_settings(state)
        num_classes = official.official_num_classes(state)
        renamed = official.from_official(state)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return Weights(path, renamed, None, told, num_classes, OFFICIAL_LICENCE)


def _state_dict(data: object, path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name: all of it, or what stands under "model" or "state_dict"."""
    inner = [data.get(key) for key in ("model", "state_dict")] if isinstance(data, dict) else []
    state = next((value for value in inner if isinstance(value, dict)), data)
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    ):
        raise InputError(
            f"{path}: expected {{name: tensor}}, alone or under 'model' or 'state_dict', as the original "
            "release publishes"
        )
    for name, tensor in state.items():
        dense = tensor.layout == torch.strided and not (tensor.is_quantized or tensor.is_meta)
        if not dense or tensor.is_complex():
            raise InputError(f"{path}: {name!r}: expected a plain tensor of real numbers")
    return state
