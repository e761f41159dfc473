"""The classes of another library: which of its labels are classes, and their numbers in megavid."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from megavid.core.detections import Detections

_NO_CLASS = {"N/A", "__background__"}
"""Names that libraries give to labels without a class, such as the gaps in COCO's numbering."""


class OutsideLabels(nn.Module):
    """Maps the labels of another library to those of megavid, which has neither background nor gaps.

    Args:
        categories: Name of each label of the library.
        background: The label of the background, whatever its name is; None if there is no such label.

    Attributes:
        names: Names of the classes, in the order of megavid's labels.
    """

    kept: Tensor
    label_of: Tensor

    def __init__(self, *, categories: Sequence[str], background: int | None) -> None:
        super().__init__()
        kept = [i for i, name in enumerate(categories) if i != background and name not in _NO_CLASS]
        self.names = tuple(categories[i] for i in kept)
        label_of = torch.full((len(categories),), -1)
        label_of[kept] = torch.arange(len(kept))
        self.register_buffer("kept", torch.tensor(kept), persistent=False)
        self.register_buffer("label_of", label_of, persistent=False)

    def forward(
        self, boxes: Tensor, scores: Tensor, labels: Tensor, class_scores: Tensor | None = None
    ) -> Detections:
        """Return the detections of megavid's classes.

        Args:
            boxes: (N, 4).
            scores: (N,).
            labels: (N,) labels of the library.
            class_scores: (N, number of categories), or None.
        """
        labels = self.label_of[labels]
        known = labels >= 0
        return Detections(
            boxes[known],
            scores[known],
            labels[known],
            self.names,
            class_scores=None if class_scores is None else class_scores[known][:, self.kept],
        )
