"""Input and result of `VideoDetector.fit_settings`, which fits a configuration to training data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Start = Literal["detector", "backbone", "nothing"]
"""Kinds of weights that training can start from."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingObjects:
    """Sizes of the frames and objects to train on.

    Attributes:
        frame_heights: (F,) int, pixels; 0 where unknown.
        frame_widths: (F,) int, pixels; 0 where unknown.
        object_areas: (M,) float64, area of each object, in pixels of its frame.
        object_frames: (M,) int, index of each object's frame.
    """

    frame_heights: NDArray[np.integer[Any]]
    frame_widths: NDArray[np.integer[Any]]
    object_areas: NDArray[np.float64]
    object_frames: NDArray[np.integer[Any]]


@dataclass(frozen=True, kw_only=True)
class FittedSettings:
    """Settings that fit training data.

    Attributes:
        settings: Values of the configuration, by dotted path.
        settings_if_any: More values, each of which applies only if the method has a setting of that name.
        reasons: Reasons for some of the values, by dotted path; "" for all values together.
        frozen_stages: Number of backbone stages to keep frozen.
        optimizer: Optimizer that suits the network.
        learning_rate: Learning rate that suits the network and the optimizer.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    settings_if_any: Mapping[str, Any] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    frozen_stages: int = 0
    optimizer: Literal["sgd", "adamw"] = "adamw"
    learning_rate: float = 1e-4
