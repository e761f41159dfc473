"""An exponential moving average of a network's weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


class MovingAverage(AveragedModel):
    """Exponential moving average of a network's weights.

    After n updates, the decay is at most (1 + n) / (10 + n), so the average soon forgets the weights that it
    started from. Buffers are copied, not averaged.

    Args:
        model: The network; the average starts as a copy of it, in `.module`.
        decay: Decay in 0 .. 1.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__(model)
        self._decay = decay

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Add the weights of the network to the average, without waiting for their device."""
        n = int(self.n_averaged)  # on the CPU
        decay = min(self._decay, (1 + n) / (10 + n)) if n else 0.0
        averages: list[Tensor] = [*self.module.parameters()]
        torch._foreach_lerp_(averages, [*model.parameters()], 1 - decay)
        if buffers := [*self.module.buffers()]:
            torch._foreach_copy_(buffers, [*model.buffers()])
        self.n_averaged += 1
