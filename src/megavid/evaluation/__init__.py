"""Scores of predictions, and predictions on disk. Imports no model."""

from megavid.evaluation.boxes import Boxes
from megavid.evaluation.scoring import (
    MOTION_RANGES,
    AveragePrecision,
    average_precision,
    average_precision_by_motion,
)

__all__ = ["MOTION_RANGES", "AveragePrecision", "Boxes", "average_precision", "average_precision_by_motion"]
