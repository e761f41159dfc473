"""Turn the output of the box head into detections, frame by frame or with fixed shapes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from megavid.core import box_ops
from megavid.core.detections import Detections
from megavid.models.faster_rcnn.box_head import BOX_WEIGHTS, HeadConfig, HeadOutput
from megavid.models.layers.suppression import suppress


def postprocess(
    output: HeadOutput,
    config: HeadConfig,
    class_names: Sequence[str],
    *,
    score_threshold: float | None = None,
) -> Detections:
    """Turn the output of the box head into detections, highest score first, half-open, in input pixels.

    This applies softmax, drops boxes that do not exceed the score threshold, suppresses overlapping boxes of
    each class, and keeps the best `max_detections` of all classes. As in the original, all boxes that tie for
    the last place are kept.

    Args:
        output: Output of the head for a frame.
        config: Thresholds and limits.
        class_names: Names of the classes, background excluded.
        score_threshold: Score that detections exceed; None for the configured threshold.
    """
    threshold = config.score_threshold if score_threshold is None else score_threshold
    scores_PK, boxes_PK4 = _scores_and_boxes(output)
    rows, labels = torch.where(scores_PK > threshold)
    candidates, scores = boxes_PK4[rows, labels], scores_PK[rows, labels]
    kept = box_ops.nms_per_class(candidates, scores, labels, config.nms_threshold)
    kept = _best(kept, scores[kept], config.max_detections)
    return Detections(candidates[kept], scores[kept], labels[kept], tuple(class_names))


def rank_detections(outputs: Sequence[HeadOutput], config: HeadConfig, *, score_threshold: float) -> Tensor:
    """Do the part of `postprocess` that suits a GPU, for several frames at once, with fixed shapes.

    Args:
        outputs: Output of the head for each of B frames of one size.
        config: Thresholds and limits.
        score_threshold: Score that detections exceed.

    Returns:
        (B, N, 6): x1, y1, x2, y2, score and label of all N = P * K boxes, by descending score. The score of a
        box that is no detection is -inf. For `select_detections`.
    """
    scores, boxes = zip(*(_scores_and_boxes(output) for output in outputs), strict=True)
    scores_BKP = torch.stack(scores).transpose(1, 2)
    boxes_BKP4 = torch.stack(boxes).transpose(1, 2)
    labels = torch.arange(scores_BKP.shape[1], device=scores_BKP.device)[:, None].expand(scores_BKP.shape)
    ranked, order = (
        scores_BKP.masked_fill(~(scores_BKP > score_threshold), -math.inf)
        .flatten(1)
        .sort(descending=True, stable=True)
    )
    boxes_BN4 = boxes_BKP4.flatten(1, 2).gather(1, order[..., None].expand(-1, -1, 4))
    labels_BN = labels.flatten(1).gather(1, order)
    keep = suppress(boxes_BN4, ranked, labels_BN, config.nms_threshold, config.max_detections)
    kept = ranked.masked_fill(~keep, -math.inf)
    return torch.cat((boxes_BN4, kept[..., None], labels_BN[..., None].float()), dim=2)


def select_detections(
    ranked: Tensor, config: HeadConfig, class_names: Sequence[str], *, score_threshold: float
) -> Detections:
    """Select the detections of a frame from a row (N, 6) of the result of `rank_detections`.

    Args:
        ranked: Ranked boxes, on the CPU.
        config: Thresholds and limits.
        class_names: Names of the classes, background excluded.
        score_threshold: Score that detections exceed, at least the one given to `rank_detections`.
    """
    found = ranked[ranked[:, 4] > score_threshold]
    found = found[_best(torch.arange(len(found)), found[:, 4], config.max_detections)]
    return Detections(found[:, :4], found[:, 4], found[:, 5].long(), tuple(class_names))


def _scores_and_boxes(output: HeadOutput) -> tuple[Tensor, Tensor]:
    """Compute the scores (P, K), -inf for padding, and the clipped boxes (P, K, 4)."""
    scores_PK = output.logits.softmax(dim=1)[:, 1:]
    if output.valid is not None:
        scores_PK = scores_PK.masked_fill(~output.valid[:, None], -math.inf)
    boxes_PK4 = box_ops.decode(output.deltas, output.proposals, BOX_WEIGHTS)[:, 1:]
    return scores_PK, box_ops.clip(boxes_PK4, *output.image_size)


def _best(kept: Tensor, scores: Tensor, limit: int) -> Tensor:
    """Return the first `limit` of boxes and all that tie with the last of them, given descending scores."""
    return kept[scores >= scores[limit - 1]] if len(kept) > limit else kept
