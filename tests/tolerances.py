"""Tolerances that depend on the type of device a test runs on, for float32 without TF32."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Tolerance:
    """Largest differences between two runs.

    Attributes:
        pixels: Largest difference of coordinates.
        score: Largest difference of scores.
    """

    pixels: float
    score: float


REPEATABLE = {"cpu"}
"""Devices on which two runs of the same computation give the same bits."""

REPEATED = Tolerance(0.01, 1e-4)
"""Two runs of the same computation on other devices."""

ROUNDING = {"cpu": 1.0, "cuda": 10.0, "mps": 10.0}
"""Factors of PyTorch's default tolerances for one computation carried out in two ways."""

RELATION_METHODS = {"rdn_base", "rdn", "mega"}
"""Methods that relate locations so finely that the last bit of a proposal moves a detection."""


def recorded_detections(device: torch.device, method: str) -> Tolerance:
    """Tolerance for detections recorded from the original release on a CPU, in network-input pixels.

    Differences measured on a GPU: 0.012 pixels and 2e-4 for the single-frame detector, 0.002 pixels for DFF
    and FGFA, 0.47 pixels and 0.03 for MEGA R-101.
    """
    if method in RELATION_METHODS:
        return Tolerance(0.15, 3e-3) if device.type == "cpu" else Tolerance(0.6, 0.04)
    return Tolerance(0.02, 2e-4) if device.type == "cpu" else Tolerance(0.02, 3e-4)


def recorded_raw(device: torch.device, method: str) -> float:
    """Tolerance for recorded outputs of the head, relative to 1 + their magnitude."""
    if method in RELATION_METHODS:
        return 0.02 if device.type == "cpu" else 0.1
    return 1e-3 if device.type == "cpu" else 3e-3


@dataclass(frozen=True)
class TrainingTolerance:
    """Largest differences from a recorded training step.

    Attributes:
        loss: Relative difference of a loss.
        pixels: Difference of the coordinates of a sampled RoI.
        logits: Difference of a class logit.
        gradient: Relative difference of the norm of a gradient.
    """

    loss: float
    pixels: float
    logits: float
    gradient: float


def recorded_training(device: torch.device) -> TrainingTolerance:
    """Tolerance for a training step recorded from the original release on a CPU.

    With the number of threads, the original's own logits of RDN and MEGA differ by 0.008, and its smallest
    norms of gradients, which are of sums that nearly cancel, by 0.2 %.
    """
    if device.type == "cpu":
        return TrainingTolerance(loss=1e-4, pixels=0.02, logits=0.03, gradient=5e-3)
    return TrainingTolerance(loss=1e-3, pixels=0.5, logits=0.1, gradient=0.02)
