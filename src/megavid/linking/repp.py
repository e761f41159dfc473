"""REPP: link boxes by a learned model, then give each tubelet one class vector and smooth its boxes.

Source: Sabater et al., "Robust and efficient post-processing for video object detection", IROS 2020. The
coefficients of the model are megavid's own (`pair_model.py`, `fit_pair_model.py`).

Shapes: N and M boxes of two frames.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from megavid.core.config import Number
from megavid.linking.class_vectors import ScoredBoxes, class_agreement
from megavid.linking.pair_model import PairModel, read_pair_model, shipped_pair_model
from megavid.linking.tubelet_stage import TubeletConfig, TubeletStage
from megavid.linking.tubelets import Tubelets, average_vectors, drop_unlinked, fill_gaps, smooth_boxes


class ReppConfig(TubeletConfig):
    """Settings of REPP.

    Attributes:
        model: Pair model, a file (.json) that `megavid link --fit` wrote; None for the one that ships.
        min_probability: Lowest probability, according to the pair model, of a pair of boxes that is linked.
        drop_unlinked: Whether boxes that are linked to no other box are dropped, as in the paper, unless the
            video has only one frame.
        max_gap: Largest number of frames that an object may be missed for; boxes are interpolated there. The
            default is 0, since the paper fills no gaps.
        sigma: Standard deviation of the Gaussian that smooths boxes, in frames; 0 for none.
    """

    name: Literal["repp"] = "repp"
    model: str | None = None
    min_probability: Number = Field(default=0.7, ge=0, le=1)
    drop_unlinked: bool = True
    max_gap: int = Field(default=0, ge=0, le=1000)
    sigma: Number = Field(default=1.0, ge=0, le=1000)

    def start(self) -> TubeletStage:
        """Return a new stage for one video.

        Raises:
            InputError: The pair model cannot be read.
        """
        model = shipped_pair_model() if self.model is None else read_pair_model(Path(self.model))
        match = partial(match_by_model, model=model, min_probability=self.min_probability)
        return TubeletStage(self, match=match, improve=self._improve)

    def _improve(self, tubelets: Tubelets) -> Tubelets:
        if self.drop_unlinked:
            tubelets = drop_unlinked(tubelets)
        return smooth_boxes(fill_gaps(average_vectors(tubelets)), sigma=self.sigma)


def match_by_model(
    first: ScoredBoxes, second: ScoredBoxes, *, model: PairModel, min_probability: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pair the boxes of two frames, the most similar ones first.

    The similarity of two boxes is the probability that the model gives them times the inner product of their
    class vectors. Boxes of equal similarity are paired in the order of their rows.

    Args:
        first: N boxes.
        second: M boxes.
        model: The pair model.
        min_probability: Lowest probability of a pair.

    Returns:
        Rows of each pair's two boxes.
    """
    probability = model.probability(first.boxes, second.boxes)
    similarity = probability * class_agreement(first, second)
    rows, columns = np.nonzero((probability >= min_probability) & (similarity > 0))
    order = np.argsort(-similarity[rows, columns], kind="stable")
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if row not in pairs and column not in taken:
            pairs[row] = column
            taken.add(column)
    return np.array([*pairs], np.int64), np.array([*pairs.values()], np.int64)
