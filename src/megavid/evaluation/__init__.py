"""Score predictions, and read and write them as files."""

from megavid.evaluation.boxes import Boxes
from megavid.evaluation.scoring import (
    MOTION_RANGES,
    AveragePrecision,
    average_precision,
    average_precision_by_motion,
)

__all__ = ["MOTION_RANGES", "AveragePrecision", "Boxes", "average_precision", "average_precision_by_motion"]
