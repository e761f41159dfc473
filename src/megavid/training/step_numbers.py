"""The losses and the gradient's norm of a training step, on their way from the device."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from megavid.training.failures import check_finite, fail


class StepNumbers:
    """Losses and the gradient's norm of a step, copied to the host while the device goes on computing.

    Args:
        losses: Terms of the loss by name, scalars on the device, for each micro-batch.
        gradient_norm: Norm of the gradient, a scalar on the device.
        step: Number of the step, for messages.
        clips: Names of the clips of each micro-batch, for messages.
    """

    def __init__(
        self,
        losses: Sequence[Mapping[str, Tensor]],
        gradient_norm: Tensor,
        *,
        step: int,
        clips: Sequence[Sequence[str]],
    ) -> None:
        self._names, self._step, self._clips = list(losses[0]), step, clips
        numbers = torch.stack([*(loss for terms in losses for loss in terms.values()), gradient_norm])
        on_cuda = numbers.device.type == "cuda"
        self._numbers = numbers.detach().to("cpu", non_blocking=on_cuda)
        self._copied = torch.cuda.current_stream(numbers.device).record_event() if on_cuda else None

    def wait(self, *, may_overflow: bool) -> tuple[dict[str, float], float | None]:
        """Wait until the numbers are on the host, and check them.

        Args:
            may_overflow: Whether the gradient may be infinite, because the gradient scaler skips such a step.

        Returns:
            Each loss, averaged over the clips; and the norm of the gradient, None if it is not finite.

        Raises:
            InputError: A loss is not finite, or the gradient is not finite where it has to be.
        """
        if self._copied is not None:
            self._copied.synchronize()
        *losses, norm = self._numbers.double().tolist()
        count, means = sum(map(len, self._clips)), dict.fromkeys(self._names, 0.0)
        for number, clips in enumerate(self._clips):
            first = number * len(self._names)
            values = dict(zip(self._names, losses[first : first + len(self._names)], strict=True))
            check_finite(values, clips, step=self._step)
            for name, value in values.items():
                means[name] += value * (len(clips) / count)
        if math.isfinite(norm):
            return means, norm
        if not may_overflow:
            fail("the gradient is not finite", [c for group in self._clips for c in group], step=self._step)
        return means, None
