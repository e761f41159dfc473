"""How long training steps take on this machine."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import torch

from megavid.core.errors import InputError
from megavid.datasets.clip_order import ClipOrder
from megavid.datasets.table.annotations import Annotations
from megavid.models.base.clip import Clip
from megavid.training.clip_losses import MeanLosses
from megavid.training.clip_reader import ClipReader
from megavid.training.hardware import Hardware
from megavid.training.recipe import Recipe
from megavid.training.setup import make_detector

_MOST_CLIPS = 8

_SLOW = 60.0
"""Seconds of a first measurement after which there is no second one."""


def time_step(recipe: Recipe, train: Annotations, hardware: Hardware) -> float:
    """Measure the seconds that one of a recipe's training steps takes here.

    Two groups of clips (`run.micro_batch`, eight at the most) go through the network and back, and the
    second one counts, since the first one sets up memory; a step is several of them. Reading, which is done
    meanwhile, counts as far as it takes longer than computing. The weights to start from are read, so that
    files that do not fit are found out.

    Args:
        recipe: What is to be run.
        train: What it is to be trained on.
        hardware: This machine, with all GPUs that are to be used.

    Raises:
        InputError: A clip or the weights to start from cannot be read, or the device's memory is too small.
    """
    device = torch.device(hardware.device)
    starts = any(recipe.start.model_dump().values())
    detector, _ = make_detector(recipe, train.classes, begins=starts)  # random weights take as long
    detector.to(device).train()
    detector.use_activation_checkpointing(enabled=recipe.run.activation_checkpointing)
    losses = MeanLosses(detector)
    order = ClipOrder([train], detector.training_plan, seed=recipe.run.seed, flip=recipe.data.flip)
    reader = ClipReader(order)
    mine = max(recipe.run.batch // hardware.count, 1)
    at_once = min(recipe.run.micro_batch, mine, _MOST_CLIPS)
    workers, seconds = recipe.run.workers, math.inf
    for first in (0, at_once):
        began = time.perf_counter()
        group = [reader[number] for number in range(first, first + at_once)]
        reading = time.perf_counter() - began
        computing = _compute(losses, [clip.ready(detector) for clip in group], recipe.run.dtype, device)
        seconds = max(computing, reading / workers) if workers else computing + reading
        if seconds > _SLOW:
            break
    return seconds * mine / at_once


def _compute(losses: MeanLosses, clips: Sequence[Clip], dtype: str, device: torch.device) -> float:
    """The seconds that some clips take through the network and back."""
    began = time.perf_counter()
    try:
        with torch.autocast(device.type, dtype=getattr(torch, dtype), enabled=dtype != "float32"):
            total = torch.stack(tuple(losses(clips).values())).sum()
        total.backward()
        if device.type == "cuda":
            torch.cuda.synchronize()
    except torch.OutOfMemoryError as error:
        raise InputError(
            "the device's memory is too small for this recipe: try --run.activation_checkpointing true, "
            "--run.dtype bfloat16, or a smaller --input.min_size and --input.max_size"
        ) from error
    losses.zero_grad(set_to_none=True)
    return time.perf_counter() - began
