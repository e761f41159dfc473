"""Results of a video made by hand, for tests of linkers."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from megavid.core.detections import Detections, FrameResult

NAMES = ("cat", "dog", "cow")

Row = tuple[int, float, list[float]]
"""Label, score and box of a detection."""


def detections(rows: Sequence[Row], *, class_scores: bool = True) -> Detections:
    """Make the detections of a frame; other classes than a row's label share the rest of its score."""
    labels = torch.tensor([row[0] for row in rows], dtype=torch.int64)
    scores = torch.tensor([row[1] for row in rows], dtype=torch.float32)
    vectors = ((1 - scores) / (len(NAMES) - 1))[:, None].repeat(1, len(NAMES))
    vectors[torch.arange(len(rows)), labels] = scores
    boxes = torch.tensor([row[2] for row in rows], dtype=torch.float32).reshape(-1, 4)
    return Detections(boxes, scores, labels, NAMES, class_scores=vectors if class_scores else None)


def results(
    frames: Sequence[Sequence[Row]], *, class_scores: bool = True, every: int = 1
) -> list[FrameResult]:
    """Make the results of a video of 10 frames per second from the rows of each of its frames."""
    return [
        FrameResult(i * every, i * every / 10, detections(rows, class_scores=class_scores))
        for i, rows in enumerate(frames)
    ]


def square(x: float, y: float = 0, *, side: float = 10) -> list[float]:
    """Return a square box with its upper left corner at (x, y)."""
    return [x, y, x + side, y + side]
