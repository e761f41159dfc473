"""Weights for a detector to be trained from, of parts or of another detector."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from megavid.checkpoints.backbone_weights import read_backbone
from megavid.checkpoints.load import load_flownet
from megavid.checkpoints.safetensors_files import read_safetensors
from megavid.checkpoints.weights import FlowNetWeights, read_state_dict, read_weights
from megavid.core.errors import InputError
from megavid.core.files.signatures import is_safetensors, read_head
from megavid.models.base.detector import VideoDetector
from megavid.models.layers.timm_parts import PRETRAINED, TimmPart, create


@dataclass(frozen=True)
class Loaded:
    """What was put into a detector.

    Attributes:
        path: The file.
        taken: How many tensors.
        new: Parts of the detector, by the first words of their names, that the file did not give.
        unused: How many tensors of the file have no place in it.
        licence: A note on the terms of the file.
        new_classes: Classes of the detector that the file does not know, so that what tells them apart from
            others has new weights.
    """

    path: Path
    taken: int
    new: tuple[str, ...]
    unused: int
    licence: str = ""
    new_classes: tuple[str, ...] = ()

    def __str__(self) -> str:
        new = f"; not in it: {', '.join(self.new)}" if self.new else ""
        unused = f"; {self.unused} others left out" if self.unused else ""
        classes = f"; made anew for the classes {', '.join(self.new_classes)}" if self.new_classes else ""
        return f"{self.path}: {self.taken} tensors{new}{unused}{classes}"


def load_backbone(detector: VideoDetector[Any, Any], path: Path) -> Loaded:
    """Put an ImageNet ResNet (`read_backbone`), or what timm has of its model, into a detector's backbone.

    Raises:
        InputError: The file is none, or of another depth or width.
    """
    name = detector.config.backbone.timm
    if name is not None:
        model = create(name, weights=path, state=_read_for_timm(path))
        parts = [module for module in detector.backbone.modules() if isinstance(module, TimmPart)]
        for part in parts:
            part.take(model)
        return Loaded(path, sum(len(part.state_dict()) for part in parts), (), 0)
    if path == PRETRAINED:
        raise InputError(f"start.backbone: {path}: is for backbone.timm; of a ResNet, give a file")
    if detector.config.backbone.norm != "frozen_batch":
        raise InputError(f"{path}: its batch norm needs backbone.norm frozen_batch")
    state = read_backbone(path, mean=detector.config.input.mean)
    return _load(detector, {f"backbone.{name}": tensor for name, tensor in state.items()}, path, "backbone.")


def _read_for_timm(path: Path) -> dict[str, Tensor] | None:
    """Read the tensors of a timm checkpoint, preferring the averaged weights if it has them."""
    if path == PRETRAINED or path.suffix in {".npy", ".npz"}:
        return None
    if is_safetensors(read_head(path)):
        return read_safetensors(path)[1]
    state = read_state_dict(path, under=("state_dict_ema", "model_ema", "state_dict", "model"))
    return {name.removeprefix("_orig_mod.").removeprefix("module."): value for name, value in state.items()}


def load_from_detector(detector: VideoDetector[Any, Any], path: Path) -> Loaded:
    """Put all of another detector's weights into one that fit by name and shape.

    The head's predictor is taken over where both have the same classes, class by class where only some are
    the same.

    Raises:
        InputError: The file holds no detector, or nothing of it fits.
    """
    weights = read_weights(path)
    if isinstance(weights, FlowNetWeights):
        raise InputError(f"{path}: holds FlowNet's weights only; they belong under start.flow")
    state = dict(weights.state)
    names = weights.config["classes"] if weights.config else None
    if names is None and weights.num_classes != len(detector.class_names):
        names = [""] * weights.num_classes  # unknown: none is the same
    new: tuple[str, ...] = ()
    if names is not None and tuple(names) != detector.class_names:
        state |= _predictor(detector, state, names)
        new = tuple(name for name in detector.class_names if name not in names)
    return replace(_load(detector, state, path, ""), licence=weights.licence, new_classes=new)


def load_flow(detector: VideoDetector[Any, Any], path: Path) -> Loaded:
    """Put FlowNet's weights into a detector (`load_flownet`)."""
    load_flownet(detector, path)
    return Loaded(path, len(detector.get_submodule("flow").state_dict()), (), 0)


def _predictor(
    detector: VideoDetector[Any, Any], state: dict[str, Tensor], names: list[str]
) -> dict[str, Tensor]:
    """The detector's own predictor with the rows of background and of classes that both have."""
    rows = {0: 0} | {
        ours + 1: names.index(name) + 1
        for ours, name in enumerate(detector.class_names)
        if name and name in names
    }
    made = {}
    for name in ("predictor.scores.weight", "predictor.scores.bias"):
        made[name] = detector.state_dict()[name].clone()
        if made[name].shape[1:] == state[name].shape[1:]:
            for ours, theirs in rows.items():
                made[name][ours] = state[name][theirs]
    for name in ("predictor.deltas.weight", "predictor.deltas.bias"):
        made[name] = detector.state_dict()[name].clone()
        if made[name].shape[1:] == state[name].shape[1:]:
            for ours, theirs in rows.items():
                made[name][4 * ours : 4 * ours + 4] = state[name][4 * theirs : 4 * theirs + 4]
    return made


def _load(detector: VideoDetector[Any, Any], state: dict[str, Tensor], path: Path, prefix: str) -> Loaded:
    wanted = {name: t for name, t in detector.state_dict().items() if name.startswith(prefix)}
    fits = {n: t for n, t in state.items() if n in wanted and t.shape == wanted[n].shape}
    wrong = [n for n, t in state.items() if n in wanted and t.shape != wanted[n].shape]
    if not fits or wrong:
        example = wrong[0] if wrong else next(iter(state), "nothing")
        shapes = f" {tuple(state[example].shape)} for {tuple(wanted[example].shape)}" if wrong else ""
        raise InputError(
            f"{path}: does not fit {detector.config.method.name} with {detector.config.backbone.name}"
            f" of width {detector.config.backbone.width}: {example}{shapes}"
        )
    detector.load_state_dict(fits, strict=False)
    new = dict.fromkeys(".".join(name.split(".")[:2]) for name in wanted if name not in fits)
    return Loaded(path, len(fits), tuple(new), len(state) - len(fits))
