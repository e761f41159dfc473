"""Detection models of torchvision.

torchvision numbers classes from 1; label 0 is the background. The names of the classes belong to its weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only
from torchvision.models import detection, get_model, get_model_weights, list_models

from megavid.core.detections import Detections
from megavid.core.errors import InputError
from megavid.core.similar_names import hint_similar
from megavid.core.text import listed
from megavid.models.adapters.frame_adapter import AdapterConfig, FrameAdapter
from megavid.models.adapters.outside_labels import OutsideLabels
from megavid.models.base.detector_config import DetectorConfig

_ZERO_EPSILON = {
    "fasterrcnn_resnet50_fpn",
    "keypointrcnn_resnet50_fpn",
    "maskrcnn_resnet50_fpn",
    "retinanet_resnet50_fpn",
}
"""Models whose published weights COCO_V1 were trained with frozen batch norms without epsilon."""

_COUNTER = "num_batches_tracked"
"""Last part of the name of a tensor that batch norms have and frozen batch norms lack."""


class TorchvisionConfig(AdapterConfig):
    """Settings of a detector of torchvision.

    Attributes:
        model: Name of the model in torchvision's registry.
        weights: Name of the weights, such as COCO_V1. Weights from a file are taken as trained from these.
        class_names: Names of the classes of weights from a file, without background; None for those of
            `weights` if their number is the same, else class_1, class_2, ...
        score_threshold: Score that boxes exceed. The network drops all others before it suppresses
            overlapping boxes, so that `detect` cannot use a lower threshold.
        max_detections: Most detections in a frame; None for torchvision's value for the model.
        min_size: Shorter side of the network's input, pixels; None for torchvision's value.
        max_size: Limit on the longer side, pixels; None for torchvision's value.
    """

    name: Literal["torchvision"]
    model: str
    weights: str
    class_names: tuple[str, ...] | None = Field(default=None, strict=False, min_length=1)
    max_detections: int | None = Field(default=None, ge=1, le=10_000)
    min_size: int | None = Field(default=None, ge=32, le=10_000)
    max_size: int | None = Field(default=None, ge=32, le=10_000)


class TorchvisionDetector(FrameAdapter):
    """A detection model of torchvision. It gives the score of one class for each box.

    Args:
        config: Its configuration.
        network: The model of torchvision, with its weights. Masks and keypoints are turned off.
        labels: Its classes.
    """

    config_type = DetectorConfig[TorchvisionConfig]

    def __init__(self, *, config: DetectorConfig, network: nn.Module, labels: OutsideLabels) -> None:
        super().__init__(config)
        self.network = network
        self.labels = labels
        _configure(network, config.method)
        _compute_boxes_in_float32(network)

    @property
    def architecture(self) -> str:
        """Name of the model in torchvision."""
        return str(self.config.method.model)

    @property
    def lowest_threshold(self) -> float:
        """The threshold that the network computes with."""
        return self.settings.score_threshold

    def find(self, images: Tensor) -> list[Detections]:
        """Detect in each frame of (B, 3, H, W)."""
        found = self.network(list(images.float() / 255))
        return [self.labels(one["boxes"], one["scores"], one["labels"]) for one in found]

    def compiled_modules(self) -> list[nn.Module]:
        """Return the backbone, whose shapes depend on nothing but the size of the input."""
        return [self.network.get_submodule("backbone")]


class NamedModel(NamedTuple):
    """A model of torchvision's registry, with the weights that a name asks for."""

    name: str
    weights: Any

    @property
    def spelled(self) -> str:
        """The complete name, as a user writes it."""
        return f"torchvision:{self.name}:{self.weights.name}"

    @property
    def categories(self) -> list[str]:
        """Name of each label of the weights; the first is the background."""
        return [str(name) for name in self.weights.meta["categories"]]

    @property
    def url(self) -> str:
        """Address of the file of weights."""
        return str(self.weights.url)

    @property
    def downloaded(self) -> Path:
        """Path at which torchvision keeps the file."""
        return Path(torch.hub.get_dir(), "checkpoints", self.url.rpartition("/")[2])


def find_model(name: str) -> NamedModel:
    """Find a model of torchvision by its name, such as "ssd300_vgg16" or "ssd300_vgg16:COCO_V1".

    Raises:
        InputError: torchvision has no such detection model or no such weights of it.
    """
    model, _, weights = name.partition(":")
    known = list_models(module=detection)
    if model not in known:
        hint = hint_similar(model, known)
        raise InputError(f"torchvision has no detector {model!r}; expected one of {listed(known)}{hint}")
    choices = get_model_weights(model)
    if weights in {"", "DEFAULT"}:
        return NamedModel(model, choices.DEFAULT)
    if weights not in choices.__members__:
        names = ", ".join(choice.name for choice in choices)
        raise InputError(f"torchvision:{model}: expected weights {names}, got {weights!r}")
    return NamedModel(model, choices[weights])


def published_network(model: NamedModel) -> nn.Module:
    """Return the model with its published weights, which torchvision downloads unless it has them.

    Raises:
        InputError: The weights cannot be downloaded or read.
    """
    try:
        network: nn.Module = get_model(model.name, weights=model.weights)
    except Exception as error:  # urllib, torch.hub and torch.load raise many types of errors
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{model.spelled}: cannot load {model.url}: {reason}; to put the file there by hand, save it as "
            f"{model.downloaded}"
        ) from error
    return network.eval()


def network_of_state(model: NamedModel, state: Mapping[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """Return the model with random weights, in the form that a state dict has.

    Args:
        model: The model; its named weights tell the epsilon of frozen batch norms.
        state: State dict of the model, with any number of classes.

    Returns:
        The network, and the state dict to load into it.
    """
    count = _number_of_labels(model, state)
    network: nn.Module = get_model(model.name, weights=None, weights_backbone=None, num_classes=count)
    if not any(name.endswith(_COUNTER) for name in state):  # saved with frozen batch norms
        zero = {name: value for name, value in network.state_dict().items() if name.endswith(_COUNTER)}
        state = {**state, **zero}
        if model.name in _ZERO_EPSILON and model.weights.name == "COCO_V1":
            for module in network.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eps = 0.0
    return network.eval(), dict(state)


def labels_of_state(
    model: NamedModel, network: nn.Module, names: Sequence[str] | None, *, origin: object
) -> OutsideLabels:
    """Return the classes of a network that was loaded from a file.

    Args:
        model: The model.
        network: The network, whose number of classes counts.
        names: Names of the classes that the user gives, without background.
        origin: The file, for messages.

    Raises:
        InputError: The user gives another number of names than the network has classes.
    """
    count = _number_of_labels(model, network.state_dict())
    if names is not None:
        if len(names) != count - 1:
            raise InputError(
                f"{origin}: has {count - 1} classes, but method.class_names has {len(names)} names"
            )
        return OutsideLabels(categories=["__background__", *names], background=0)
    categories = model.categories
    if len(categories) != count:
        categories = ["__background__", *(f"class_{i}" for i in range(1, count))]
    return OutsideLabels(categories=categories, background=0)


def _number_of_labels(model: NamedModel, state: Mapping[str, Tensor]) -> int:
    """Return the number of labels of a state dict, background included.

    A state dict without the layer that tells gets the number of the published weights: loading it will fail.
    """
    name, first, per_label = _rows_by_labels(model.name)
    if name not in state or state[name].dim() == 0:
        return len(model.categories)
    return max((len(state[name]) - first) // per_label, 2)


@cache
def _rows_by_labels(name: str) -> tuple[str, int, int]:
    """Return the name of a tensor that has a + b n rows if a model has n labels, with a and b."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        two, three = (
            get_model(name, weights=None, weights_backbone=None, num_classes=n).state_dict() for n in (2, 3)
        )
    key = next(key for key, value in two.items() if value.shape != three[key].shape)
    per_label = len(three[key]) - len(two[key])
    return key, len(two[key]) - 2 * per_label, per_label


def _configure(network: Any, settings: TorchvisionConfig) -> None:
    """Apply settings to a model, and turn off masks and keypoints."""
    heads = getattr(network, "roi_heads", None)
    if heads is not None:
        heads.mask_roi_pool = heads.keypoint_roi_pool = None
    owner = network if heads is None else heads
    owner.score_thresh = settings.score_threshold
    if settings.max_detections is not None:
        owner.detections_per_img = settings.max_detections
    transform = network.transform
    if transform.fixed_size is not None and (settings.min_size or settings.max_size):
        raise InputError(
            f"method.min_size, method.max_size: {settings.model} has input of fixed size, "
            f"{transform.fixed_size[0]}x{transform.fixed_size[1]}"
        )
    if settings.min_size is not None:
        transform.min_size = (settings.min_size,)
    if settings.max_size is not None:
        transform.max_size = settings.max_size


def _compute_boxes_in_float32(network: Any) -> None:
    """Convert the outputs of the heads to float32, so that boxes and scores are computed from float32."""
    heads = getattr(network, "roi_heads", None)
    modules = [network.head] if heads is None else [network.rpn.head, heads.box_predictor]
    for module in modules:
        module.register_forward_hook(_to_float32)


def _to_float32(module: nn.Module, arguments: object, output: Any) -> Any:
    return tree_map_only(Tensor, Tensor.float, output)
