"""The optimizer of a training run: SGD or AdamW."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from megavid.core.config import Config, Number
from megavid.core.ranges import MOST_STEPS, MOST_TRAINING_BATCH

_OWN_SETTINGS: dict[str, dict[str, Any]] = {
    "sgd": {"momentum": 0.9, "bias_factor": 2.0, "weight_decay": 1e-4},
    "adamw": {"betas": (0.9, 0.999), "weight_decay": 0.05},
}
"""Defaults of each optimizer's settings; settings that belong only to the other optimizer are refused."""

Beta = Annotated[Number, Field(ge=0, lt=1)]


class OptimizerConfig(Config):
    """The optimizer, the schedule of its learning rate, and the averaging of weights.

    Attributes:
        name: SGD with momentum, or AdamW (Loshchilov and Hutter, 2019).
        learning_rate: Base learning rate of the weights, reached after warm-up.
        reference_batch: Batch size for which `learning_rate` is meant. The learning rate is multiplied by
            `run.batch` / `reference_batch`; null for no scaling.
        momentum: Momentum of SGD; 0.9 by default.
        bias_factor: With SGD, learning rate of biases relative to that of weights; 2 by default.
        betas: Decay rates of AdamW's averages of the gradient and of its square; 0.9 and 0.999 by default.
        weight_decay: Weight decay, by default 1e-4 with SGD and 0.05 with AdamW. Biases have no weight
            decay; with AdamW, the scales of norms have none either.
        schedule: "steps" divides the learning rate by ten at each milestone; "cosine" lowers it to zero at
            `run.steps` along half a cosine. Both begin with the warm-up.
        warmup: Number of steps of linear warm-up.
        warmup_factor: Learning rate at the first step, relative to the learning rate after the warm-up.
        milestones: With schedule "steps", the steps after which the learning rate is divided by ten.
        clip_norm: Norm to which larger gradients are scaled down; null for no limit.
        ema: Decay of an exponential moving average of the weights, such as 0.9999; null for no average. If
            there is an average, the averaged weights are evaluated and written.
    """

    renamed_keys: ClassVar = {"drops": "milestones"}

    name: Literal["sgd", "adamw"] = "sgd"
    learning_rate: Number = Field(gt=0)
    reference_batch: int | None = Field(default=None, ge=1, le=MOST_TRAINING_BATCH)
    momentum: Number | None = Field(default=None, ge=0, lt=1)
    bias_factor: Number | None = Field(default=None, gt=0)
    betas: tuple[Beta, Beta] | None = Field(default=None, strict=False)
    weight_decay: Number | None = Field(default=None, ge=0)
    schedule: Literal["steps", "cosine"] = "steps"
    warmup: int = Field(default=500, ge=0, le=MOST_STEPS)
    warmup_factor: Number = Field(default=1 / 3, gt=0, le=1)
    milestones: tuple[Annotated[int, Field(ge=0)], ...] = Field(default=(), strict=False, max_length=1000)
    clip_norm: Number | None = Field(default=None, gt=0)
    ema: Number | None = Field(default=None, gt=0, lt=1)

    @model_validator(mode="before")
    @classmethod
    def _fill_in_defaults(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        name = data.get("name", "sgd")
        own = _OWN_SETTINGS[name] if isinstance(name, str) and name in _OWN_SETTINGS else {}
        return {**data, **{key: value for key, value in own.items() if data.get(key) is None}}

    @model_validator(mode="after")
    def _check_settings_belong(self) -> Self:
        for name, settings in _OWN_SETTINGS.items():
            for key in settings.keys() - _OWN_SETTINGS[self.name].keys():
                if getattr(self, key) is not None:
                    raise ValueError(f"{key} is a setting of {name}, not of {self.name}; remove it")
        if self.schedule != "steps" and self.milestones:
            raise ValueError(f"milestones belong to schedule steps, not to {self.schedule}; set []")
        return self


def make_optimizer(model: nn.Module, config: OptimizerConfig, *, fused: bool) -> Optimizer:
    """Make the optimizer for all parameters that require a gradient.

    With SGD, biases form a separate group without weight decay and with another learning rate, as is usual
    for Faster R-CNN. With AdamW, parameters with one dimension, which are biases and the scales of norms,
    have no weight decay. Each group stores, under "factor", the number by which its learning rate is
    multiplied.

    Args:
        model: The network, on its device.
        config: The optimizer's configuration.
        fused: Whether one kernel updates many parameters, which saves time on a GPU. Such an optimizer also
            skips infinite gradients of float16 without waiting for the GPU.
    """
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    if config.name == "adamw":
        assert config.betas is not None
        return AdamW(
            [
                _group([p for _, p in named if p.ndim > 1], weight_decay=config.weight_decay, factor=1.0),
                _group([p for _, p in named if p.ndim <= 1], weight_decay=0.0, factor=1.0),
            ],
            lr=config.learning_rate,
            betas=config.betas,
            fused=fused,
        )
    assert config.momentum is not None
    weights = [p for name, p in named if not name.endswith(".bias")]
    biases = [p for name, p in named if name.endswith(".bias")]
    optimizer = SGD(
        [
            _group(weights, weight_decay=config.weight_decay, factor=1.0),
            _group(biases, weight_decay=0.0, factor=config.bias_factor),
        ],
        lr=config.learning_rate,
        momentum=config.momentum,
        fused=fused,
    )
    if fused and config.momentum > 0:
        optimizer.register_step_pre_hook(_begin_momenta)
    return optimizer


def _group(
    parameters: list[nn.Parameter], *, weight_decay: float | None, factor: float | None
) -> dict[str, Any]:
    return {"params": parameters, "weight_decay": weight_decay, "factor": factor}


def _begin_momenta(optimizer: Optimizer, *_: object) -> None:
    """Set missing momenta to zero, since a fused step expects those of all parameters or of none."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None and optimizer.state[parameter].get("momentum_buffer") is None:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
