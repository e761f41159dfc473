"""Tolerances that depend on the type of device a test runs on, for float32 without TF32."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Tolerance:
    """Limits of the differences between two runs.

    Attributes:
        pixels: Largest allowed difference between coordinates, in pixels.
        score: Largest allowed difference between scores.
        share: Least share of detections that agree to within these limits (`agreement.agreement`).
    """

    pixels: float
    score: float
    share: float = 0.99


REPEATABLE = {"cpu"}
"""Devices on which two runs of the same computation give the same bits."""

REPEATED = Tolerance(0.01, 1e-4)
"""Tolerance for two runs of the same computation on any other device."""

ROUNDING = {"cpu": 1.0, "cuda": 10.0, "mps": 10.0}
"""Factors for PyTorch's default tolerances, to compare two ways of carrying out one computation."""

RELATION_METHODS = {"rdn_base", "rdn", "mega"}
"""Methods so sensitive to locations that a change in the last bit of a proposal moves a detection."""


def other_shapes(device: torch.device) -> Tolerance:
    """Return the tolerance for detections computed from tensors of other shapes, such as padded ones."""
    return Tolerance(0.05, 1e-4, share=1) if device.type == "cpu" else Tolerance(0.05, 1e-3)


def speed_ups(device: torch.device, *, loose: bool) -> Tolerance:
    """Return the tolerance for detections of a network in float32 with and without speed-ups.

    With `loose`, a GPU may use TF32. On a CPU that rounded factors like that, the agreement of tiny random
    detectors was at least 0.96.
    """
    if device.type == "cpu":
        return Tolerance(0.01, 1e-4)
    return Tolerance(1.0, 0.02, share=0.93) if loose else Tolerance(0.05, 1e-3)


def recorded_detections(device: torch.device, method: str) -> Tolerance:
    """Return the tolerance, in network-input pixels, for detections that the original release made on a CPU.

    Differences measured on a GPU: 0.012 pixels and 2e-4 for the single-frame detector, 0.002 pixels for DFF
    and FGFA, 0.47 pixels and 0.03 for MEGA R-101; one of 60 detections of DFF had no match.
    """
    if method in RELATION_METHODS:
        return Tolerance(0.15, 3e-3) if device.type == "cpu" else Tolerance(0.6, 0.04, share=0.98)
    return Tolerance(0.02, 2e-4) if device.type == "cpu" else Tolerance(0.02, 3e-4, share=0.98)


def recorded_raw(device: torch.device, method: str) -> float:
    """Return the tolerance for recorded outputs of the head, relative to 1 + their magnitude."""
    if method in RELATION_METHODS:
        return 0.02 if device.type == "cpu" else 0.1
    return 1e-3 if device.type == "cpu" else 3e-3


@dataclass(frozen=True)
class TrainingTolerance:
    """Largest allowed differences from a recorded training step.

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
    """Return the tolerance for a training step recorded from the original release on a CPU.

    The original's own results depend on the number of threads: logits of RDN and MEGA differ by 0.008, and
    the smallest gradient norms, of sums whose terms nearly cancel, by 0.2 %.
    """
    if device.type == "cpu":
        return TrainingTolerance(loss=1e-4, pixels=0.02, logits=0.03, gradient=5e-3)
    return TrainingTolerance(loss=1e-3, pixels=0.5, logits=0.2, gradient=0.02)
