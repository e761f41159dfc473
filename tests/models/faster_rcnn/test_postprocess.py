"""Post-processing with fixed shapes, compared with post-processing frame by frame."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from megavid.core.detections import Detections
from megavid.models.faster_rcnn.box_head import HeadConfig, HeadOutput
from megavid.models.faster_rcnn.captured_steps import ranked_together
from megavid.models.faster_rcnn.postprocess import postprocess, rank_detections, select_detections

CONFIG = HeadConfig(pool_size=7, score_threshold=0.1, nms_threshold=0.5, max_detections=5)

NAMES = ("cat", "dog", "cow")

P, K = 40, len(NAMES)


def random_output(seed: int, device: torch.device) -> HeadOutput:
    """Return output for 40 RoIs of which many overlap; logits are whole numbers, so that many scores tie."""
    generator = torch.Generator().manual_seed(seed)
    corner, size = torch.rand(2, P, 2, generator=generator).to(device)
    logits = torch.randint(4, (P, K + 1), generator=generator).float().to(device)
    deltas = torch.randn(P, 4 * (K + 1), generator=generator).to(device)
    proposals = torch.cat((60 * corner, 60 * corner + 20 + 20 * size), dim=1)
    return HeadOutput(logits, deltas, proposals, (80, 100))


def rows(found: Detections) -> list[list[float]]:
    """Return coordinates, score and label of each detection."""
    table: list[list[float]] = torch.cat(
        (found.boxes, found.scores[:, None], found.labels[:, None]), dim=1
    ).tolist()
    return table


def select(ranked: Tensor, config: HeadConfig, score_threshold: float) -> list[list[float]]:
    return rows(select_detections(ranked.cpu(), config, NAMES, score_threshold=score_threshold))


@pytest.mark.parametrize("most", [1, 5, 12, 1000])
@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.4])
def test_several_frames_at_once_have_the_detections_of_each_one(
    most: int, threshold: float, device: torch.device
) -> None:
    config = CONFIG.model_copy(update={"max_detections": most})
    outputs = [random_output(seed, device) for seed in range(3)]
    ranked = rank_detections(outputs, config, score_threshold=threshold)
    assert ranked.shape == (3, P * K, 6)
    for output, boxes in zip(outputs, ranked, strict=True):
        expected = rows(postprocess(output, config, NAMES, score_threshold=threshold))
        assert select(boxes, config, threshold) == expected
        assert len(expected) >= min(most, 10)


def test_a_frame_may_have_a_higher_threshold_than_the_ranked_one(device: torch.device) -> None:
    output = random_output(0, device)
    [ranked] = rank_detections([output], CONFIG, score_threshold=0.05)
    scores = postprocess(output, CONFIG, NAMES).scores
    for threshold in (0.3, 0.5, float(scores[-1]), float(scores[0]), 0.99):
        expected = rows(postprocess(output, CONFIG, NAMES, score_threshold=threshold))
        assert select(ranked, CONFIG, threshold) == expected
    assert expected == []


def apart(logits: list[float], device: torch.device) -> HeadOutput:
    """Return output for boxes that do not overlap, by their logits of the only class; background has 0."""
    x = 20.0 * torch.arange(len(logits), device=device)
    boxes = torch.stack((x, torch.zeros_like(x), x + 10, torch.full_like(x, 10)), dim=1)
    scores = F.pad(torch.tensor(logits, device=device)[:, None], (1, 0))
    return HeadOutput(scores, torch.zeros(len(logits), 8, device=device), boxes, (80, 1000))


@pytest.mark.parametrize(
    ("logits", "kept"),
    [
        ([1.0, 1, 3, 3, 3, 1, 1, 1], [2, 3, 4, 0, 1, 5, 6, 7]),  # the fourth to the eighth box tie
        ([1.0, 4, 3, 3, 3, 2, 1, 1], [1, 2, 3, 4, 5]),
        ([1.0, 4, 3], [1, 2, 0]),
        ([-9.0, 4, -9], [1]),
    ],
)
def test_boxes_that_tie_for_the_last_place_are_kept(
    logits: list[float], kept: list[int], device: torch.device
) -> None:
    [ranked] = rank_detections([apart(logits, device)], CONFIG, score_threshold=0.1)
    found = select_detections(ranked.cpu(), CONFIG, NAMES[:1], score_threshold=0.1)
    assert found.boxes.tolist() == [[20.0 * i, 0, 20.0 * i + 10, 10] for i in kept]
    assert found.labels.tolist() == [0] * len(kept)
    assert found.class_names == NAMES[:1]


@pytest.mark.parametrize("count", [0, 1, 25, P])
def test_padding_is_never_detected(count: int, device: torch.device) -> None:
    output = random_output(1, device)
    valid = torch.arange(P, device=device) < count
    padded = replace(output, logits=output.logits + 9.0 * ~valid[:, None], valid=valid)
    shorter = HeadOutput(
        output.logits[:count], output.deltas[:count], output.proposals[:count], output.image_size
    )
    expected = rows(postprocess(shorter, CONFIG, NAMES))
    [ranked] = rank_detections([padded], CONFIG, score_threshold=0.1)
    assert select(ranked, CONFIG, 0.1) == expected == rows(postprocess(padded, CONFIG, NAMES))
    assert (len(expected) == 0) == (count == 0)


def test_without_proposals_there_are_no_detections(device: torch.device) -> None:
    ranked = rank_detections([apart([], device)] * 2, CONFIG, score_threshold=0.1)
    assert ranked.shape == (2, 0, 6)
    assert select(ranked[0], CONFIG, 0.1) == []


@pytest.mark.parametrize(
    ("proposals", "classes", "together"),
    [(300, 30, 8), (300, 80, 7), (1000, 80, 1), (10_000, 200, 1)],  # 2^32 pairs of boxes take 512 MiB
)
def test_fewer_frames_are_ranked_together_if_they_have_many_boxes(
    proposals: int, classes: int, together: int
) -> None:
    nothing = torch.empty(proposals, classes + 1, device="meta")
    assert ranked_together(HeadOutput(nothing, nothing, nothing, (80, 100))) == together
