"""Linear layers with weights in the memory layout of oneDNN's matrix product."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PackedLinear(nn.Module):
    """Linear layer for inference on a CPU.

    PyTorch multiplies float32 matrices with MKL, which is slower than oneDNN on processors that Intel did not
    make. This layer calls the oneDNN operators that compiled models use. If PyTorch lacks these operators,
    the layer computes like `nn.Linear`.

    Args:
        layer: Linear layer to replace.
        rows: Typical number of rows of the input.
    """

    def __init__(self, layer: nn.Linear, *, rows: int) -> None:
        super().__init__()
        self.bias = layer.bias
        self.weight = layer.weight
        self.is_packed = has_packing()
        if self.is_packed:
            packed = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), rows)
            self.weight = nn.Parameter(packed, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, features in) -> (N, features out)."""
        if not self.is_packed:
            return F.linear(x, self.weight, self.bias)
        y = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")
        return cast(Tensor, y)


def pack_linears(module: nn.Module, *, rows: int, leave: nn.Module | None = None) -> None:
    """Replace a module's direct children that are linear layers, except `leave`, with packed layers."""
    for name, layer in list(module.named_children()):
        if isinstance(layer, nn.Linear) and layer is not leave:
            setattr(module, name, PackedLinear(layer, rows=rows))


def has_packing() -> bool:
    """Return whether this version of PyTorch has oneDNN's operators for packed layers."""
    names = ("_reorder_linear_weight", "_linear_pointwise")
    return torch.backends.mkldnn.is_available() and all(hasattr(torch.ops.mkldnn, name) for name in names)
