"""Measure the time of training steps on this machine."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import torch

from megavid.datasets.clip_order import ClipOrder
from megavid.datasets.table.annotations import Annotations
from megavid.models.acceleration.device_memory import translate_memory_errors
from megavid.models.base.clip import Clip
from megavid.training.clips.clip_losses import MeanLosses
from megavid.training.clips.clip_reader import ClipReader
from megavid.training.hardware import Hardware
from megavid.training.recipe import Recipe
from megavid.training.setup import make_detector

_MOST_CLIPS = 8

_SLOW = 60.0
"""If the first micro-batch takes more seconds than this, the second one is not measured."""


def time_step(recipe: Recipe, train: Annotations, hardware: Hardware) -> float:
    """Measure how many seconds a training step of a recipe takes.

    Two micro-batches of at most eight clips go through the network, forward and backward. Only the time of
    the second one counts, since the first one also allocates memory. If the first one is very slow, its time
    counts, and there is no second one. This time is then scaled to all clips of a step. Workers read clips
    while the network computes, so the longer of reading and computing counts. The weights to start from are
    loaded, so files that do not fit are found.

    Args:
        recipe: The recipe.
        train: The training data.
        hardware: This machine, with all GPUs to train on.

    Raises:
        InputError: A clip or the weights to start from cannot be read, or the device's memory is too small.
    """
    device = torch.device(hardware.device)
    has_start = any(recipe.start.model_dump().values())
    # The time does not depend on the weights, so random ones are not initialized.
    detector, _ = make_detector(recipe, train.classes, begins=has_start)
    detector.to(device).train()
    detector.use_activation_checkpointing(enabled=recipe.run.activation_checkpointing)
    losses = MeanLosses(detector)
    order = ClipOrder([train], detector.training_plan, seed=recipe.run.seed, flip=recipe.data.flip)
    reader = ClipReader(order)
    clips = max(recipe.run.batch // hardware.count, 1)
    micro_batch = min(recipe.run.micro_batch, clips, _MOST_CLIPS)
    workers, seconds = recipe.run.workers, math.inf
    for first in (0, micro_batch):
        began = time.perf_counter()
        group = [reader[number] for number in range(first, first + micro_batch)]
        reading = time.perf_counter() - began
        computing = _compute(losses, [clip.ready(detector) for clip in group], recipe.run.dtype, device)
        seconds = max(computing, reading / workers) if workers else computing + reading
        if seconds > _SLOW:
            break
    return seconds * clips / micro_batch


def _compute(losses: MeanLosses, clips: Sequence[Clip], dtype: str, device: torch.device) -> float:
    """Return how many seconds a forward and a backward pass of some clips take."""
    full = (
        f"the device's memory is too small for this recipe, with run.micro_batch {len(clips)}: try "
        "--run.activation_checkpointing true, --run.dtype bfloat16, or a smaller --input.min_size and "
        "--input.max_size"
    )
    began = time.perf_counter()
    with translate_memory_errors(full):
        with torch.autocast(device.type, dtype=getattr(torch, dtype), enabled=dtype != "float32"):
            total = torch.stack(tuple(losses(clips).values())).sum()
        total.backward()
        if device.type == "cuda":
            torch.cuda.synchronize()
    losses.zero_grad(set_to_none=True)
    return time.perf_counter() - began
