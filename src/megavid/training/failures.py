"""What goes wrong while training, in words that say which step, which clips, and what to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

import torch
from torch import Tensor

from megavid.core.errors import InputError
from megavid.models.acceleration.compiling import compiler_watched
from megavid.training.clip_reader import TrainingClip
from megavid.training.run_log import LOSSES


@contextmanager
def device_watched(step: int) -> Iterator[None]:
    """Where the device's memory may be full, or nothing can be compiled.

    Raises:
        InputError: It is so.
    """
    try:
        with compiler_watched("run.compile"):
            yield
    except torch.OutOfMemoryError as error:
        raise InputError(
            f"step {step}: the device's memory is full; checkpoints up to there are kept. Go on with "
            "--resume and run.micro_batch 1, run.activation_checkpointing true or run.dtype bfloat16, or "
            "begin again with a smaller input.min_size"
        ) from error


def check_finite(losses: Tensor, clips: Sequence[TrainingClip], *, step: int) -> None:
    """That the losses (4,) of some clips are numbers.

    Raises:
        InputError: One is infinite or none.
    """
    if not losses.isfinite().all():
        named = zip(LOSSES, losses.tolist(), strict=True)
        values = ", ".join(f"{name} {value:g}" for name, value in named)
        fail(f"the loss is not finite ({values})", clips, step=step)


def fail(what: str, clips: Sequence[TrainingClip], *, step: int) -> NoReturn:
    """Stop, since the numbers of a step are of no use.

    Raises:
        InputError: Always.
    """
    raise InputError(
        f"step {step}: {what} for {', '.join(clip.name for clip in clips)}; checkpoints up to there are "
        "kept. Go on with --resume and a lower optimizer.learning_rate, a longer optimizer.warmup, "
        "optimizer.clip_norm 10, or run.dtype float32; remove the newest checkpoint if it is spoilt already"
    )
