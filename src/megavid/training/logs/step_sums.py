"""Sums over training steps, from which the lines of the log are computed."""

from __future__ import annotations

import resource
import sys
from collections.abc import Mapping

import torch

from megavid.core.errors import InputError

_NO_LOSSES = {"steps", "seconds", "waited", "gradient_norm", "finite"}
"""Names of the sums that are not loss terms."""

_RESERVED = _NO_LOSSES | {"step", "loss", "learning_rate", "clips_per_second", "data_wait", "memory_mb"}
"""Names that a loss term cannot have, since the log or the sums use them."""


class StepSums:
    """Sums of losses, gradient norms and times over the steps since the last line of the log.

    Args:
        sums: Sums by name, saved in a checkpoint, to continue from.

    Attributes:
        sums: Sums by name, to save in a checkpoint.
    """

    def __init__(self, sums: Mapping[str, float] | None = None) -> None:
        self.sums = dict(sums or {})

    def add_losses(self, losses: Mapping[str, float], *, gradient_norm: float | None) -> None:
        """Add the losses and the gradient norm of a step.

        Args:
            losses: Terms of the loss by name.
            gradient_norm: Norm of the gradient; None if it is not finite.

        Raises:
            InputError: The name of a loss term is reserved.
        """
        if reserved := sorted(_RESERVED & losses.keys()):
            raise InputError(
                f"loss {reserved[0]!r}: expected another name, which the log does not use itself"
            )
        for name, value in losses.items():
            self._add(name, value)
        if gradient_norm is not None:
            self._add("gradient_norm", gradient_norm)
            self._add("finite", 1)

    def add_time(self, *, seconds: float, waited: float) -> None:
        """Add the duration of a step, and how much of it was spent waiting for clips."""
        self._add("steps", 1)
        self._add("seconds", seconds)
        self._add("waited", waited)

    def log_line(self, *, batch: int, learning_rate: float, device: torch.device) -> dict[str, float | None]:
        """Compute the numbers for the next line of the log.

        Args:
            batch: Clips per step.
            learning_rate: Learning rate of the last step.
            device: Device of the network, whose memory is reported.
        """
        count, seconds, finite = (self.sums.get(key, 0.0) for key in ("steps", "seconds", "finite"))
        losses = {name: value / count for name, value in self.sums.items() if name not in _NO_LOSSES}
        return {
            "loss": sum(losses.values()),
            **losses,
            "gradient_norm": self.sums["gradient_norm"] / finite if finite else None,
            "learning_rate": learning_rate,
            "clips_per_second": count * batch / seconds,
            "data_wait": self.sums["waited"] / seconds,
            "memory_mb": _peak_memory(device),
        }

    def _add(self, name: str, value: float) -> None:
        self.sums[name] = self.sums.get(name, 0.0) + value


def _peak_memory(device: torch.device) -> float:
    """Return the peak memory so far, in MB: of a CUDA GPU, or of this process on any other device."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
