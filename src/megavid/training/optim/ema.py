"""An exponential moving average of a network's weights."""

from __future__ import annotations

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

Tensors = tuple[Tensor, ...] | list[Tensor]


def make_ema(model: nn.Module, decay: float) -> AveragedModel:
    """Make the exponential moving average of a network's weights.

    After n updates, the decay is at most (1 + n) / (10 + n), so the average soon forgets the weights that it
    started from. Buffers are copied, not averaged.

    Args:
        model: The network; the average starts as a copy of it, in `.module`.
        decay: Decay in 0 .. 1.
    """

    def average(averages: Tensors, weights: Tensors, updates: Tensor | int) -> None:
        n = int(updates)
        get_ema_multi_avg_fn(min(decay, (1 + n) / (10 + n)))(averages, weights, n)

    return AveragedModel(model, multi_avg_fn=average)
