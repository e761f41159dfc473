"""COCO's metrics, by the library that everyone compares with."""

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
"""Our names of the metrics, and the library's. AP is the mean over IoU 0.50 to 0.95; sizes are COCO's, with
limits at 32 x 32 and 96 x 96 pixels; AR n is for the n best detections a frame."""

_NO_SIZE = 1e20
"""Square pixels: more than the library's range of all sizes, which ends at 1e10."""


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
    """The metrics of `NAMES`, from 0 to 1; NaN where there are no such objects.

    Args:
        found: N detections.
        truth: M objects.
        num_frames: Frames in the data set.
        num_classes: C.
        ignored: bool (M,), objects that need not be found.
        crowds: bool (M,), those of them that any number of detections may find: COCO's `iscrowd`.
        areas: (M,), square pixels of each object; None for those of the boxes.

    Raises:
        InputError: faster-coco-eval is not installed (the extra `coco`).
    """
    require_library()
    from faster_coco_eval import COCO, COCOeval_faster

    assert found.score is not None
    if len(truth) == 0 or len(found) == 0:  # which the library does not take
        return dict.fromkeys(NAMES, np.nan if len(truth) == 0 else 0.0)
    none = np.zeros(len(truth), np.bool_)
    crowds = none if crowds is None else crowds
    areas = _xywh(truth.xyxy)[:, 2:].prod(axis=1) if areas is None else areas
    # The library has no flag for what is ignored without being a crowd, but it ignores objects of another
    # size than the one that is asked for.
    areas = np.where((none if ignored is None else ignored) & ~crowds, _NO_SIZE, areas)
    evaluation = COCOeval_faster(
        COCO(_as_coco(truth, num_frames, num_classes, crowds=crowds, areas=areas)),
        iouType="bbox",
        extra_calc=False,
    )
    rows = np.column_stack([found.frame + 1, _xywh(found.xyxy), found.score, found.label + 1])
    evaluation.cocoDt = evaluation.cocoGt.loadRes(rows.astype(np.float64))
    evaluation.run()
    stats = evaluation.stats_as_dict
    # The library says -1 where there is nothing to measure.
    return {ours: float(stats[theirs]) if stats[theirs] >= 0 else np.nan for ours, theirs in NAMES.items()}


def require_library() -> None:
    """Check that the library is installed, before there is work to lose.

    Raises:
        InputError: It is not (the extra `coco`).
    """
    if find_spec("faster_coco_eval") is None:
        raise InputError("COCO metrics need faster-coco-eval: pip install faster-coco-eval")


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
