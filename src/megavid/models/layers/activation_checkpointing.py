"""Activation checkpointing, which saves memory in training at the cost of time."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def run(module: nn.Module, x: Tensor, *, checkpointing: bool) -> Tensor:
    """Apply a module to x; with `checkpointing`, recompute its activations in the backward pass."""
    if checkpointing and torch.is_grad_enabled():
        return cast(Tensor, checkpoint(module, x, use_reentrant=False))
    return cast(Tensor, module(x))
