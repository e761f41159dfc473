"""Turn failures of training steps into error messages that name the step and give advice."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NoReturn

from megavid.core.errors import InputError
from megavid.models.acceleration.compiling import translate_compiler_errors
from megavid.models.acceleration.device_memory import translate_memory_errors


@contextmanager
def translate_device_errors(step: int, *, micro_batch: int) -> Iterator[None]:
    """Turn PyTorch's errors about full device memory or a missing compiler into errors for the user.

    Args:
        step: Number of the step, for messages.
        micro_batch: Number of clips that go through the network together, for messages.

    Raises:
        InputError: The device's memory is full, or the network cannot be compiled.
    """
    smaller = "run.micro_batch 1, " if micro_batch > 1 else ""
    full = (
        f"step {step}: the device's memory is full with run.micro_batch {micro_batch}; checkpoints up to "
        f"there are kept. Continue with --resume and {smaller}run.activation_checkpointing true or run.dtype "
        "bfloat16, or begin again with a smaller input.min_size"
    )
    with translate_compiler_errors("run.compile"), translate_memory_errors(full):
        yield


def check_finite(losses: Mapping[str, float], clips: Sequence[str], *, step: int) -> None:
    """Check that the losses of a step are finite.

    Args:
        losses: Terms of the loss by name.
        clips: Names of the clips that the losses are of.
        step: Number of the step.

    Raises:
        InputError: A loss is infinite or not a number.
    """
    if not all(map(math.isfinite, losses.values())):
        values = ", ".join(f"{name} {loss:g}" for name, loss in losses.items())
        fail(f"the loss is not finite ({values})", clips, step=step)


def fail(what: str, clips: Sequence[str], *, step: int) -> NoReturn:
    """Stop training because a step's loss or gradient is unusable.

    Args:
        what: Description of the problem, for the message.
        clips: Names of the clips of the step.
        step: Number of the step.

    Raises:
        InputError: Always.
    """
    raise InputError(
        f"step {step}: {what} for {', '.join(clips)}; checkpoints up to there are "
        "kept. Continue with --resume and a lower optimizer.learning_rate, a longer optimizer.warmup, "
        "optimizer.clip_norm 10, or run.dtype float32; remove the newest checkpoint if it is damaged already"
    )
