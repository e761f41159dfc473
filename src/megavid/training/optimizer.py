"""Stochastic gradient descent as Faster R-CNN is trained with."""

from __future__ import annotations

from bisect import bisect_right

from torch import nn
from torch.optim import SGD

from megavid.training.recipe import OptimizerConfig


def make_optimizer(model: nn.Module, config: OptimizerConfig) -> SGD:
    """SGD for all parameters that are trained: biases learn faster and do not decay.

    Each group's own factor on the learning rate stands under "factor".
    """
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    weights = [p for name, p in named if not name.endswith(".bias")]
    biases = [p for name, p in named if name.endswith(".bias")]
    groups = [
        {"params": weights, "weight_decay": config.weight_decay, "factor": 1.0},
        {"params": biases, "weight_decay": 0.0, "factor": config.bias_factor},
    ]
    return SGD(groups, lr=config.learning_rate, momentum=config.momentum)


def learning_rate(config: OptimizerConfig, step: int, *, batch: int) -> float:
    """Of weights at a step, from 0: linear warm-up, then a tenth after each drop.

    Args:
        config: The schedule.
        step: How many steps were done before.
        batch: Clips a step.
    """
    rate = config.learning_rate * (0.1 ** bisect_right(config.milestones, step))
    if config.reference_batch is not None:
        rate *= batch / config.reference_batch
    if step < config.warmup:
        share = step / config.warmup
        rate *= config.warmup_factor * (1 - share) + share
    return rate


def set_learning_rate(optimizer: SGD, rate: float) -> None:
    """Of weights; that of biases follows."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]
