"""A timm model in two parts: from images to stride 16, and from there to stride 32.

Shapes: B images, C channels, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from megavid.core.errors import InputError
from megavid.models.layers.activation_checkpointing import run

STRIDE, DEEP_STRIDE = 16, 32

PRETRAINED = Path("pretrained")
"""Stands for the weights that timm downloads, where a file of weights is expected."""


class TimmPart(nn.Module):
    """Consecutive stages of a timm model.

    Args:
        name: Name of the model.
        model: Model, as `create` returns it.
        stages: Names of the stages.

    Attributes:
        activation_checkpointing: See `ResNetTrunk`.
        out_channels: Number of channels of the resulting map.
    """

    def __init__(self, name: str, model: Any, stages: Sequence[str]) -> None:
        super().__init__()
        self.activation_checkpointing = False
        self._name = name
        self.layers = nn.ModuleDict({stage: model[stage] for stage in stages})
        self._channels_last = str(model.output_fmt).endswith("NHWC")
        self.out_channels = int(_features(model)[stages[-1]]["num_chs"])

    def initialize(self) -> None:
        """Initialize the weights as timm does, from PyTorch's global generator."""
        self.take(create(self._name))

    def take(self, model: Any) -> None:
        """Copy the weights of another instance of the same timm model."""
        for stage, layer in self.layers.items():
            layer.load_state_dict(model[stage].state_dict())

    def _run(self, x: Tensor) -> Tensor:
        """Apply all stages; the result is (B, C, H, W)."""
        for layer in self.layers.values():
            x = run(layer, x, checkpointing=self.activation_checkpointing)
        return x.permute(0, 3, 1, 2).contiguous() if self._channels_last else x


class TimmTrunk(TimmPart):
    """The stages from images to a map of stride 16.

    The input is BGR in 0 .. 255 minus a mean. It is converted to what timm models expect: RGB in 0 .. 1 minus
    a mean, divided by a standard deviation.
    """

    scale: Tensor

    def __init__(self, name: str, model: Any, stages: Sequence[str]) -> None:
        super().__init__(name, model, stages)
        scale = 1 / (255 * torch.tensor(model.pretrained_cfg.get("std", (0.229, 0.224, 0.225))))
        self.register_buffer("scale", scale[:, None, None], persistent=False)
        self._strides = _strides(model, stages)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, out_channels, ceil(H / 16), ceil(W / 16))."""
        height, width = images.shape[2:]
        # Pad so that every stage halves the size exactly.
        padded = F.pad(images.flip(1) * self.scale, (0, -width % DEEP_STRIDE, 0, -height % DEEP_STRIDE))
        return self._run(padded)[:, :, : -(-height // STRIDE), : -(-width // STRIDE)].contiguous()

    def first_stages(self, count: int) -> list[nn.Module]:
        """Return the layers up to stride 2 ** `count`; strides 2, 4, 8 and 16 match conv1 to conv4."""
        layers = zip(self.layers.values(), self._strides, strict=True)
        return [layer for layer, stride in layers if stride <= 2**count]

    def leading_layers(self) -> list[nn.Module]:
        """Return the layers up to stride 8: less than half of the trunk in most models."""
        return self.first_stages(3)


class TimmStage5(TimmPart):
    """The stage of stride 32, whose map is interpolated back to stride 16."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C4, h, w) -> (B, out_channels, h, w)."""
        height, width = x.shape[2:]
        x = F.pad(x, (0, width % 2, 0, height % 2))
        padded = x.shape[2:]
        x = self._run(x.permute(0, 2, 3, 1) if self._channels_last else x)
        x = F.interpolate(x, size=padded, mode="bilinear", align_corners=False)
        return x[:, :, :height, :width].contiguous()


def timm_parts(name: str) -> tuple[TimmTrunk, TimmStage5]:
    """Make the two parts of a model, with random weights.

    Raises:
        InputError: timm is not installed or has no such model, or the model is not a sequence of stages with
            maps of stride 16 and 32 for images of any size.
    """
    model = create(name)
    names, features = list(model.keys()), _features(model)
    ends = {int(info["reduction"]): names.index(stage) + 1 for stage, info in features.items()}
    if not {STRIDE, DEEP_STRIDE} <= ends.keys():
        have = ", ".join(map(str, sorted(ends)))
        raise InputError(f"backbone.timm: {name}: expected maps of stride 16 and 32, got {have}")
    trunk = TimmTrunk(name, model, names[: ends[STRIDE]])
    stage5 = TimmStage5(name, model, names[ends[STRIDE] : ends[DEEP_STRIDE]])
    _check_sizes(name, trunk, stage5)
    return trunk, stage5


@torch.no_grad()
def _check_sizes(name: str, trunk: TimmTrunk, stage5: TimmStage5) -> None:
    """Check that the parts accept an image of any size and return maps of the expected size."""
    modes = trunk.training, stage5.training
    try:
        c4 = trunk.eval()(torch.zeros(1, 3, 70, 100))
        sizes = {tuple(c4.shape[2:]), tuple(stage5.eval()(c4).shape[2:])}
    except Exception as error:  # models raise many types of errors for unsupported sizes
        raise InputError(f"backbone.timm: {name}: does not accept images of any size: {error}") from error
    if sizes != {(5, 7)}:
        raise InputError(f"backbone.timm: {name}: its maps are not of strides 16 and 32 throughout")
    trunk.train(modes[0])
    stage5.train(modes[1])


def create(name: str, *, weights: Path | None = None, state: dict[str, Tensor] | None = None) -> Any:
    """Make a timm model that returns its maps, with frozen batch norms and without stochastic depth.

    Args:
        name: Name of the model.
        weights: File of ImageNet weights for timm; `PRETRAINED` to download them; None for random weights.
        state: Tensors of that file by name; None for a NumPy file, which timm reads itself.

    Raises:
        InputError: timm is not installed, has no such model or cannot read the weights, or the model is not a
            sequence of stages.
    """
    try:
        import timm
        import timm.layers
    except ImportError as error:
        raise InputError("backbone.timm: needs the library timm: pip install timm") from error
    if not timm.is_model(name):
        raise InputError(f"backbone.timm: timm has no model {name!r}; timm.list_models() has the names")
    options: dict[str, Any] = {
        "features_only": True,
        "feature_cls": "list",
        "pretrained": weights is not None,
    }
    if weights is not None and weights != PRETRAINED:
        options["pretrained_cfg_overlay"] = {"file": str(weights)} if state is None else {"state_dict": state}
    try:
        try:
            model = timm.create_model(name, strict_img_size=False, **options)  # Swin
        except TypeError:
            model = timm.create_model(name, **options)
    except AssertionError as error:
        raise InputError(f"backbone.timm: {name}: expected a model that is a sequence of stages") from error
    except Exception as error:  # timm raises many types of errors for files and downloads
        reason = " ".join(str(error).split())
        if weights == PRETRAINED:
            raise InputError(
                f"timm:{name}: timm cannot download its weights: {reason} Or give a file: start.backbone FILE"
            ) from error
        raise InputError(f"{weights or name}: {reason}") from error
    layers: Any = timm.layers
    for module in model.modules():
        if isinstance(module, layers.DropPath):
            module.drop_prob = 0.0
    return layers.freeze_batch_norm_2d(model)


def _features(model: Any) -> dict[str, dict[str, Any]]:
    """Return timm's information about the stages whose maps it returns, by the stage's name, in order."""
    return {info["module"].replace(".", "_"): info for info in model.feature_info}


def _strides(model: Any, stages: Sequence[str]) -> list[int]:
    """Return, for each stage, the stride of the first map that timm returns from it or a later stage."""
    features, strides, following = _features(model), [], STRIDE
    for stage in reversed(stages):
        following = int(features[stage]["reduction"]) if stage in features else following
        strides.append(following)
    return strides[::-1]
