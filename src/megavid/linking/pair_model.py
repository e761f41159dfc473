"""The model of REPP that tells whether two boxes of consecutive frames show the same object.

Source: Sabater et al., "Robust and efficient post-processing for video object detection", IROS 2020.

Shapes: N and M boxes of two frames, F = 4 features.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megavid.core.config import Config, Number, validate
from megavid.core.files.atomic import atomic_path
from megavid.core.files.json_yaml import read_json
from megavid.core.files.ownership import MADE_BY
from megavid.core.files.shipped import shipped_files
from megavid.core.iou import paired_iou


def pair_features(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.float64]:
    """Compute the features of each pair of boxes.

    The paper's distance of centers is relative to the size of the frame. Here it is relative to the mean
    diagonal of the two boxes, since saved predictions do not tell the size of the frame.

    Args:
        first: (..., 4), half-open x1 y1 x2 y2.
        second: (..., 4), half-open x1 y1 x2 y2; the shapes are broadcast.

    Returns:
        (..., F): the IoU; the ratio of the smaller to the larger width; that of the heights; and the distance
        of the centers over the mean diagonal. Divisions by 0 give 0.
    """
    (x1, y1, x2, y2), (u1, v1, u2, v2) = (
        np.moveaxis(boxes.astype(np.float64), -1, 0) for boxes in (first, second)
    )
    sides = (x2 - x1, y2 - y1), (u2 - u1, v2 - v1)
    distance = np.sqrt((x1 + x2 - u1 - u2) ** 2 + (y1 + y2 - v1 - v2) ** 2) / 2
    diagonal = (np.hypot(*sides[0]) + np.hypot(*sides[1])) / 2
    ratios = [_divide(np.minimum(a, b), np.maximum(a, b)) for a, b in zip(*sides, strict=True)]
    return np.stack((paired_iou(first, second), *ratios, _divide(distance, diagonal)), axis=-1)


class PairModel(Config):
    """Logistic regression on `pair_features`.

    Attributes:
        intercept: Bias of the log-odds.
        iou: Weight of the IoU.
        width: Weight of the ratio of the widths.
        height: Weight of the ratio of the heights.
        distance: Weight of the distance of the centers.
    """

    intercept: Number
    iou: Number
    width: Number
    height: Number
    distance: Number

    def probability(self, first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.float64]:
        """Return the probability, (N, M), that boxes (N, 4) and boxes (M, 4) show the same object."""
        weights = np.array([self.iou, self.width, self.height, self.distance])
        log_odds = pair_features(first[:, None], second) @ weights + self.intercept
        probability: NDArray[np.float64] = 1 / (1 + np.exp(-log_odds.clip(-500, 500)))
        return probability


@cache
def shipped_pair_model() -> PairModel:
    """Return the model that ships with the package; `weights/repp_pair_model.md` is its card."""
    return read_pair_model(shipped_files("weights", ".json")["repp_pair_model"])


def read_pair_model(path: Path) -> PairModel:
    """Read a model that `write_pair_model` wrote.

    Raises:
        InputError: The file is missing or broken, or is not a pair model.
    """
    data = read_json(path)
    if isinstance(data, dict):
        data = {key: value for key, value in data.items() if key not in {*MADE_BY, "about"}}
    return validate(PairModel, data, origin=path)


def write_pair_model(model: PairModel, path: Path, *, about: dict[str, Any]) -> None:
    """Write a model as a small JSON file; it appears whole or not at all.

    Args:
        model: The model.
        path: The file to write (.json).
        about: What the model was fitted on, as JSON values.

    Raises:
        InputError: The file cannot be written, or exists and is not megavid's.
    """
    with atomic_path(path) as aside:
        aside.write_text(json.dumps({**MADE_BY, **model.model_dump(), "about": about}, indent=2) + "\n")


def _divide(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    quotient: NDArray[np.float64] = np.divide(a, b, out=np.zeros(a.shape), where=b > 0)
    return quotient
