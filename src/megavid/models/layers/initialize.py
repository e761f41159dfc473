"""Initialize weights for training from scratch."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn
from torch.nn import init

from megavid.models.layers.flownet import FlowNet, Refinement
from megavid.models.layers.relation import Relation
from megavid.models.layers.timm_parts import TimmPart

_LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


def initialize(model: nn.Module) -> None:
    """Give the layers of a model new random weights, in place.

    Convolutions get He's normal initialization (He et al., ICCV 2015); fully connected layers get He's
    uniform initialization. Relation modules and the layers that predict flow start near zero. Biases are
    zero. Parts of timm models are initialized by timm.
    """
    timm_parts = [module for module in model.modules() if isinstance(module, TimmPart)]
    inside_timm = {module for part in timm_parts for module in part.modules()}
    for part in timm_parts:
        part.initialize()
    for module in model.modules():
        if module in inside_timm:
            continue
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            init.kaiming_uniform_(module.weight, a=1)
        if isinstance(module, _LAYERS) and module.bias is not None:
            init.zeros_(module.bias)
    for module in model.modules():
        if isinstance(module, Relation):
            near_zero(module.children())
            if module.query_bias is not None:
                init.normal_(module.query_bias, std=0.01)
        elif isinstance(module, FlowNet | Refinement):
            near_zero([module.predict])


def near_zero(layers: Iterable[nn.Module], *, std: float = 0.01) -> None:
    """Give layers normally distributed weights with a small standard deviation, and biases of zero."""
    for layer in layers:
        assert isinstance(layer, _LAYERS)
        init.normal_(layer.weight, std=std)
        if layer.bias is not None:
            init.zeros_(layer.bias)
