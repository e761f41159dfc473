"""The learning rate at each step."""

from __future__ import annotations

import math
from bisect import bisect_right

from torch.optim import Optimizer

from megavid.training.optim.optimizer import OptimizerConfig


def learning_rate(config: OptimizerConfig, step: int, *, steps: int, batch: int) -> float:
    """Compute the learning rate of a step.

    Unlike PyTorch's schedulers, this function keeps no state, so a resumed run may change the schedule.

    Args:
        config: The optimizer's configuration, which contains the schedule.
        step: Number of the step, from 0.
        steps: Number of steps of the whole run.
        batch: Number of clips per step.
    """
    rate = config.learning_rate * (0.1 ** bisect_right(config.milestones, step))
    if config.reference_batch is not None:
        rate *= batch / config.reference_batch
    if step < config.warmup:
        done = step / config.warmup
        rate *= config.warmup_factor * (1 - done) + done
    elif config.schedule == "cosine":
        done = (step - config.warmup) / (steps - config.warmup)
        rate *= (1 + math.cos(math.pi * done)) / 2
    return rate


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    """Set the learning rate of every parameter group: `rate` times the group's factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]
