"""Fully-connected layers whose weights lie as oneDNN's matrix product reads them fastest."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PackedLinear(nn.Module):
    """What a linear layer does, for inference on a CPU.

    PyTorch multiplies float32 matrices by MKL, which on processors that are not Intel's is slower than
    oneDNN. The operators are those of compiled models; where a version of PyTorch has none, the layer stays
    as it is.

    Args:
        layer: Whose weights it takes.
        rows: About how many rows it will be given.
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
    """Pack the linear layers that a module holds itself, in place, but for one to leave as it is."""
    for name, layer in list(module.named_children()):
        if isinstance(layer, nn.Linear) and layer is not leave:
            setattr(module, name, PackedLinear(layer, rows=rows))


def has_packing() -> bool:
    """Whether this PyTorch has the operators."""
    names = ("_reorder_linear_weight", "_linear_pointwise")
    return torch.backends.mkldnn.is_available() and all(hasattr(torch.ops.mkldnn, name) for name in names)
