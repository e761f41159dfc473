"""Use values of the host on a GPU without waiting for it, as an ordinary copy from the host does."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def upload(x: Tensor, device: torch.device) -> Tensor:
    """Copy a small tensor from the host to a device; a GPU receives it when it comes to this point."""
    if device.type != "cuda":
        return x.to(device)
    return x.pin_memory().to(device, non_blocking=True)


def take_rows(x: Tensor, rows: Sequence[int]) -> Tensor:
    """Return some rows of a tensor (N, ...), like `x[rows]`, which would copy the numbers to the device."""
    parts = x.unbind()
    return torch.stack([parts[row] for row in rows])
