"""COCO's metrics, computed by the library faster-coco-eval."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megavid.core.errors import InputError
from megavid.evaluation.boxes import Boxes

NAMES = {
    "AP": "AP_all",
    "AP50": "AP_50",
    "AP75": "AP_75",
    "AP small": "AP_small",
    "AP medium": "AP_medium",
    "AP large": "AP_large",
    "AR 1": "AR_all",
    "AR 10": "AR_second",
    "AR 100": "AR_third",
    "AR small": "AR_small",
    "AR medium": "AR_medium",
    "AR large": "AR_large",
}
"""Our name for each metric, and the library's name for it. AP is the mean over IoUs from 0.50 to 0.95.
Objects are small up to 32 x 32 pixels, and large from 96 x 96 pixels. AR n is the average recall of the n
best detections of each class in each frame."""

_AREA_BEYOND_ALL_SIZES = 1e20
"""An area, in square pixels, above the library's limit of 1e10: objects with this area are ignored."""


def coco_metrics(
    found: Boxes,
    truth: Boxes,
    *,
    num_frames: int,
    num_classes: int,
    ignored: NDArray[np.bool_] | None = None,
    crowds: NDArray[np.bool_] | None = None,
    areas: NDArray[np.float64] | None = None,
) -> dict[str, float]:
    """Compute the metrics of `NAMES`.

    Args:
        found: N detections.
        truth: M objects.
        num_frames: Number of frames in the data set.
        num_classes: Number of classes.
        ignored: bool (M,), objects that need not be found.
        crowds: bool (M,), ignored objects that any number of detections may find: COCO's `iscrowd`.
        areas: (M,), area of each object in square pixels; None for the areas of the boxes.

    Returns:
        Values in [0, 1], keyed by our names in `NAMES`; NaN if no object counts for a metric.

    Raises:
        InputError: faster-coco-eval is not installed (the extra `coco`).
    """
    require_library()
    from faster_coco_eval import COCO, COCOeval_faster

    if len(truth) == 0 or len(found) == 0:  # The library does not take empty data.
        return dict.fromkeys(NAMES, np.nan if len(truth) == 0 else 0.0)
    crowds = np.zeros(len(truth), np.bool_) if crowds is None else crowds
    areas = _xywh(truth.xyxy)[:, 2:].prod(axis=1) if areas is None else areas
    if ignored is not None:
        # The library ignores only crowds and objects outside a metric's range of sizes.
        areas = np.where(ignored & ~crowds, _AREA_BEYOND_ALL_SIZES, areas)
    objects = COCO(_as_coco(truth, num_frames, num_classes, crowds=crowds, areas=areas))
    evaluation = COCOeval_faster(objects, iouType="bbox", extra_calc=False)
    evaluation.cocoDt = evaluation.cocoGt.loadRes(_as_results(found))
    evaluation.run()
    stats = evaluation.stats_as_dict
    # The library returns -1 for a metric without objects.
    return {ours: float(stats[theirs]) if stats[theirs] >= 0 else np.nan for ours, theirs in NAMES.items()}


def require_library() -> None:
    """Check that the library is installed, before long work begins.

    Raises:
        InputError: It is not installed (the extra `coco`).
    """
    if find_spec("faster_coco_eval") is None:
        raise InputError("COCO metrics need faster-coco-eval: pip install faster-coco-eval")


def _as_results(found: Boxes) -> NDArray[np.float64]:
    """Return detections as rows of image id, x, y, width, height, score and category id, (N, 7)."""
    assert found.score is not None
    rows = np.column_stack([found.frame + 1, _xywh(found.xyxy), found.score, found.label + 1])
    return rows.astype(np.float64)


def _as_coco(
    truth: Boxes,
    num_frames: int,
    num_classes: int,
    *,
    crowds: NDArray[np.bool_],
    areas: NDArray[np.float64],
) -> dict[str, list[dict[str, Any]]]:
    columns = (truth.frame + 1, truth.label + 1, _xywh(truth.xyxy), areas, crowds.astype(np.int64))
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return {
        "images": [{"id": i + 1} for i in range(num_frames)],
        "categories": [{"id": i + 1, "name": str(i)} for i in range(num_classes)],
        "annotations": [
            {"id": i, "image_id": image, "category_id": category, "bbox": box, "area": area, "iscrowd": flag}
            for i, (image, category, box, area, flag) in enumerate(rows, 1)
        ],
    }


def _xywh(boxes: NDArray[Any]) -> NDArray[np.float64]:
    corners = boxes.astype(np.float64)
    return np.concatenate((corners[:, :2], corners[:, 2:] - corners[:, :2]), axis=1)
