"""Load the weights that training starts from: a backbone's, a flow network's or another detector's."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from megavid.checkpoints.backbone_weights import download_torchvision, read_backbone
from megavid.checkpoints.download import fetch
from megavid.checkpoints.load import fetch_weights, load_flownet
from megavid.checkpoints.published import find_source, library_of
from megavid.checkpoints.safetensors_files import read_safetensors
from megavid.checkpoints.weights import FlowNetWeights, read_state_dict, read_weights
from megavid.core.errors import InputError
from megavid.core.files.atomic import atomic_path
from megavid.core.files.ownership import anything
from megavid.core.files.signatures import is_safetensors, read_head
from megavid.models.base.video_detector import VideoDetector
from megavid.models.faster_rcnn.faster_rcnn import FasterRCNN
from megavid.models.layers.timm_parts import PRETRAINED, TimmPart, create


@dataclass(frozen=True)
class Loaded:
    """Summary of the weights that were loaded into a detector.

    Attributes:
        path: Path of the file.
        taken: Number of tensors taken from the file.
        new: Parts of the detector for which tensors are missing in the file, such as "backbone.trunk".
        unused: Number of tensors in the file for which the detector has no place.
        licence: Note on the license of the weights.
        new_classes: Classes of the detector that the file lacks; they keep their initial weights.
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
        classes = f"; new weights for the classes {', '.join(self.new_classes)}" if self.new_classes else ""
        return f"{self.path}: {self.taken} tensors{new}{unused}{classes}"


def load_backbone(detector: VideoDetector, path: Path) -> Loaded:
    """Load weights trained on ImageNet into a detector's backbone: a ResNet, or the timm model in its place.

    Args:
        detector: Detector to change in place.
        path: File of a ResNet (see `read_backbone`) or of the timm model; or a name, such as "msra:resnet50",
            "torchvision:resnet50" or "timm:convnext_tiny.fb_in22k"; or an https:// or file:// address of a
            file; or `PRETRAINED`.

    Raises:
        InputError: The weights are not those of the configured backbone, or cannot be downloaded, or the
            detector has no backbone that takes such weights.
    """
    if not isinstance(detector, FasterRCNN):
        raise InputError(
            f"start.backbone: expected null, got {path}; {detector.config.method.name} has no such backbone"
        )
    config = detector.config.backbone
    if config.timm is not None:
        return _load_timm(detector, config.timm, path)
    if path == PRETRAINED or library_of(path) == "timm":
        raise InputError(
            f"start.backbone: expected a file or a name for a ResNet, got {path}, which needs backbone.timm"
        )
    if config.norm != "frozen_batch":
        raise InputError(f"{path}: its batch norm needs backbone.norm frozen_batch")
    mean = detector.config.input.mean
    if library_of(path) == "torchvision":
        weights = download_torchvision(str(path), mean=mean)
    else:
        path = fetch_backbone(path)
        weights = read_backbone(path, mean=mean)
    if weights.stride_in_1x1 not in {None, config.stride_in_1x1}:
        theirs = str(weights.stride_in_1x1).lower()
        raise InputError(
            f"{path}: expected weights trained with backbone.stride_in_1x1 "
            f"{str(config.stride_in_1x1).lower()}, got {theirs}; set backbone.stride_in_1x1 to {theirs}, or "
            "start from other weights"
        )
    state = {f"backbone.{name}": tensor for name, tensor in weights.state.items()}
    return _load(detector, state, path, "backbone.")


def fetch_backbone(path: Path) -> Path:
    """Return the path of a backbone's weights, and download them to the cache if that is necessary.

    Args:
        path: Path of a file, name of published weights, or address.

    Raises:
        InputError: The file cannot be downloaded, or holds no weights.
    """
    source = find_source(path, backbone=True)
    return path if source is None else fetch(source, _keep_backbone)


def _keep_backbone(downloaded: Path, target: Path) -> None:
    if downloaded.suffix == ".pkl":
        read_backbone(downloaded, mean=(0.0, 0.0, 0.0))
    else:
        _read_for_timm(downloaded)  # reads torchvision's files too
    with atomic_path(target, ours=anything) as temporary:
        shutil.copyfile(downloaded, temporary)


def _load_timm(detector: FasterRCNN, name: str, path: Path) -> Loaded:
    if library_of(path) == "timm":
        model_name = str(path).removeprefix("timm:")
        if model_name.split(".")[0] != name.split(".", maxsplit=1)[0]:
            raise InputError(f"start.backbone: expected weights of {name}, as in backbone.timm, got {path}")
        model = create(model_name, weights=PRETRAINED)
    elif library_of(path) is not None:
        raise InputError(f"start.backbone: expected weights of timm's {name}, got {path}")
    else:
        path = path if path == PRETRAINED else fetch_backbone(path)
        model = create(name, weights=path, state=_read_for_timm(path))
    parts = [module for module in detector.backbone.modules() if isinstance(module, TimmPart)]
    for part in parts:
        part.take(model)
    return Loaded(path, sum(len(part.state_dict()) for part in parts), (), 0)


def _read_for_timm(path: Path) -> dict[str, Tensor] | None:
    """Read a timm checkpoint, preferring averaged weights; return None if timm itself reads the file."""
    if path == PRETRAINED or path.suffix in {".npy", ".npz"}:
        return None
    if is_safetensors(read_head(path)):
        return read_safetensors(path)[1]
    state = read_state_dict(path, under=("state_dict_ema", "model_ema", "state_dict", "model"))
    return {name.removeprefix("_orig_mod.").removeprefix("module."): value for name, value in state.items()}


def load_from_detector(detector: VideoDetector, path: Path) -> Loaded:
    """Load weights from another detector's file, for all tensors that both detectors have.

    Class-specific weights are loaded for the classes that both detectors have.

    Raises:
        InputError: The file does not contain a detector, shares no tensor names with this one, or has a
            tensor of another shape under a shared name.
    """
    weights = read_weights(fetch_weights(path))
    if isinstance(weights, FlowNetWeights):
        raise InputError(f"{path}: expected a detector, got FlowNet's weights, which belong under start.flow")
    state = dict(weights.state)
    names = weights.config["classes"] if weights.config else None
    if names is None and weights.num_classes != len(detector.class_names):
        names = [""] * weights.num_classes  # the names are unknown, so none matches
    new: tuple[str, ...] = ()
    if names is not None and tuple(names) != detector.class_names:
        state |= detector.adapt_classes(state, names)
        new = tuple(name for name in detector.class_names if name not in names)
    return replace(_load(detector, state, path, ""), licence=weights.licence, new_classes=new)


def load_flow(detector: VideoDetector, path: Path) -> Loaded:
    """Load FlowNet's weights into a detector (see `load_flownet`)."""
    load_flownet(detector, path)
    return Loaded(path, len(detector.get_submodule("flow").state_dict()), (), 0)


def _load(detector: VideoDetector, state: dict[str, Tensor], path: Path, prefix: str) -> Loaded:
    wanted = {name: t for name, t in detector.state_dict().items() if name.startswith(prefix)}
    fits = {n: t for n, t in state.items() if n in wanted and t.shape == wanted[n].shape}
    wrong = [n for n, t in state.items() if n in wanted and t.shape != wanted[n].shape]
    if not fits or wrong:
        example = wrong[0] if wrong else next(iter(state), "nothing")
        shapes = f" {tuple(state[example].shape)} for {tuple(wanted[example].shape)}" if wrong else ""
        raise InputError(
            f"{path}: does not fit {detector.config.method.name} with {detector.architecture}: "
            f"{example}{shapes}"
        )
    detector.load_state_dict(fits, strict=False)
    new = dict.fromkeys(".".join(name.split(".")[:2]) for name in wanted if name not in fits)
    return Loaded(path, len(fits), tuple(new), len(state) - len(fits))
