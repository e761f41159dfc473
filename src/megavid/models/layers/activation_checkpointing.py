"""Less memory for more time in training."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def run(module: nn.Module, x: Tensor, *, recompute: bool) -> Tensor:
    """What a module makes of x; with `recompute` its insides are computed again for the gradient."""
    if recompute and torch.is_grad_enabled():
        return cast(Tensor, checkpoint(module, x, use_reentrant=False))
    return cast(Tensor, module(x))
