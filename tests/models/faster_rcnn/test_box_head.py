"""Postprocessing of the box head's output, compared with results computed by hand."""

from __future__ import annotations

import torch

from megavid.models.faster_rcnn.box_head import HeadConfig, HeadOutput
from megavid.models.faster_rcnn.postprocess import postprocess
from tests.agreement import assert_close

CONFIG = HeadConfig(pool_size=7, score_threshold=0.1, nms_threshold=0.5, max_detections=3)


def predict(logits: list[list[float]], proposals: list[list[float]], device: torch.device) -> HeadOutput:
    classes = len(logits[0])
    deltas = torch.zeros(len(logits), 4 * classes, device=device)
    return HeadOutput(
        torch.tensor(logits, device=device), deltas, torch.tensor(proposals, device=device), (100, 200)
    )


def test_background_has_no_label_and_scores_are_softmax(device: torch.device) -> None:
    # Softmax of (0, ln 2, ln 5) is (1, 2, 5) / 8.
    found = postprocess(
        predict([[0.0, 0.6931472, 1.6094379]], [[10.0, 10, 20, 20]], device=device), CONFIG, ("cat", "dog")
    )
    assert found.labels.tolist() == [1, 0]
    assert_close(found.scores, torch.tensor([0.625, 0.25], device=device))
    assert found.boxes.tolist() == [[10, 10, 20, 20]] * 2


def test_duplicates_are_suppressed_and_boxes_clipped(device: torch.device) -> None:
    found = postprocess(
        predict(
            [[0.0, 2.0], [0.0, 1.0], [0.0, 0.5]],
            [[-5.0, -5, 50, 50], [0, 0, 50, 50], [150, 60, 300, 200]],
            device=device,
        ),
        CONFIG,
        ("cat",),
    )
    assert found.boxes.tolist() == [[0, 0, 50, 50], [150, 60, 200, 100]]


def test_overlap_above_the_threshold_is_suppressed(device: torch.device) -> None:
    # The IoU of two 10x10 boxes is 80 / 120 if one is shifted by 2 pixels, and 60 / 140 if by 4.
    boxes = [[0.0, 0, 10, 10], [2.0, 0, 12, 10], [4.0, 0, 14, 10]]
    found = postprocess(predict([[0.0, 3.0], [0.0, 2.0], [0.0, 1.0]], boxes, device=device), CONFIG, ("cat",))
    assert found.boxes.tolist() == [boxes[0], boxes[2]]


def test_ties_at_the_last_place_are_kept(device: torch.device) -> None:
    apart = [[20.0 * i, 0, 20.0 * i + 10, 10] for i in range(6)]
    found = postprocess(predict([[0.0, 3.0]] * 2 + [[0.0, 1.0]] * 4, apart, device=device), CONFIG, ("cat",))
    assert len(found) == 6
    found = postprocess(predict([[0.0, 3.0]] * 3 + [[0.0, 1.0]] * 3, apart, device=device), CONFIG, ("cat",))
    assert len(found) == 3


def test_without_proposals_there_are_no_detections(device: torch.device) -> None:
    nothing = HeadOutput(
        torch.zeros(0, 3, device=device),
        torch.zeros(0, 12, device=device),
        torch.zeros(0, 4, device=device),
        (100, 200),
    )
    found = postprocess(nothing, CONFIG, ("cat", "dog"))
    assert len(found) == 0
    assert found.boxes.shape == (0, 4)
