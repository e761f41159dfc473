"""Any function is a detector, and what it returns is checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import supervision
import torch

from megavid import Detections, FrameDetector, Inference, InputError, detect_video
from megavid.core.frames import Image

BOXES = torch.tensor([[10.0, 5, 30, 25], [-8, 2, 12, 90], [100, 0, 120, 20]])


def one_frame(found: Any, **options: Any) -> Detections:
    """Return the detections in a black frame of 96x64 pixels, of a function that returns `found`."""
    detector = FrameDetector(lambda frames: found, class_names=["fox", "hare"])
    [result] = detect_video(detector, [np.zeros((64, 96, 3), np.uint8)], **options)
    return result.detections


def test_boxes_are_clipped_sorted_and_filtered() -> None:
    scores = torch.tensor([[0.1, 0.2], [0.3, 0.9], [0.5, 0.1]])
    found = Detections(
        BOXES.double(),
        torch.tensor([0.2, 0.9, 0.5]),
        torch.tensor([1, 1, 0], dtype=torch.int32),
        ("fox", "hare"),
        class_scores=scores,
    )
    # The third box is to the right of the frame.
    result = one_frame([found])
    assert result.scores.tolist() == pytest.approx([0.9, 0.2])
    assert result.boxes.tolist() == [[0, 2, 12, 64], [10, 5, 30, 25]]
    assert result.boxes.dtype == torch.float32
    assert result.labels.tolist() == [1, 1]
    assert result.labels.dtype == torch.int64
    assert result.class_scores is not None
    assert torch.equal(result.class_scores, scores[[1, 0]])
    assert result.class_names == ("fox", "hare")
    assert len(one_frame([found], score_threshold=0.2)) == 1


def test_a_function_gets_frames_in_batches(make_frames: Callable[[int], list[Image]]) -> None:
    seen: list[list[Image]] = []

    def keep(frames: list[Image]) -> list[Detections]:
        seen.append(frames)
        empty = torch.zeros(0)
        return [Detections(empty.view(0, 4), empty, empty.long()) for _ in frames]

    frames = make_frames(5)
    results = list(detect_video(FrameDetector(keep, class_names=["fox"]), frames, batch_size=3))
    assert [len(r.detections) for r in results] == [0] * 5
    assert [len(batch) for batch in seen] == [3, 2]
    for given, frame in zip([f for batch in seen for f in batch], frames, strict=True):
        assert given.dtype == np.uint8
        assert np.array_equal(given, frame)


def test_a_function_may_return_detections_of_supervision() -> None:
    boxes = BOXES[:2].numpy()
    scores, labels = np.array([0.2, 0.9]), np.array([0, 1])
    found = supervision.Detections(xyxy=boxes, confidence=scores, class_id=labels)
    assert one_frame([found]).labels.tolist() == [1, 0]  # highest score first
    named: dict[str, Any] = {"class_name": np.array(["fox", "hare"])}  # other numbers than ours: names count
    found = supervision.Detections(xyxy=boxes, confidence=scores, class_id=labels + 17, data=named)
    result = one_frame([found])
    assert result.labels.tolist() == [1, 0]
    assert result.boxes.tolist() == [[0, 2, 12, 64], [10, 5, 30, 25]]
    assert len(one_frame([supervision.Detections.empty()])) == 0


def detections(**changes: Any) -> Detections:
    fields: dict[str, Any] = {
        "boxes": BOXES[:1],
        "scores": torch.tensor([0.5]),
        "labels": torch.tensor([0]),
    }
    return Detections(**(fields | changes))


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (detections(), "expected a list of Detections, got Detections"),
        ([BOXES], "expected a list of Detections, got a list with Tensor"),
        ([], "expected detections in 1 frames, got 0"),
        ([detections(), detections()], "expected detections in 1 frames, got 2"),
        ([detections(labels=torch.tensor([2]))], "expected labels from 0 to 1, got 2 to 2"),
        ([detections(scores=torch.tensor([1.5]))], "expected scores from 0 to 1, got 1.5 to 1.5"),
        ([detections(boxes=BOXES[:1] * torch.inf)], "expected finite boxes and scores"),
        (
            [supervision.Detections(xyxy=np.ones((1, 4)), class_id=np.array([0]))],
            "expected a confidence and a class_id for each box",
        ),
        (
            [supervision.Detections(np.ones((1, 4)), confidence=np.ones(1), class_id=np.array([2]))],
            "expected a class_id from 0 to 1, got 2 to 2",
        ),
        ([detections(class_names=("hare", "fox"))], "expected class names fox, hare, got hare, fox"),
    ],
)
def test_invalid_results_are_explained(found: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        one_frame(found)


@pytest.mark.parametrize(
    ("inference", "message"),
    [
        (
            Inference(dtype="bfloat16"),
            "inference.dtype: expected float32, got bfloat16: the function <lambda>",
        ),
        (Inference(compile=True), "inference.compile: expected false, got true"),
        (Inference(loose=True), "inference.loose: expected false on cpu, got true"),
    ],
)
def test_settings_that_a_function_cannot_follow_are_refused(inference: Inference, message: str) -> None:
    detector = FrameDetector(lambda frames: [], class_names=["fox"])
    with pytest.raises(InputError, match=message):
        detector.prepare(inference)
    detector.prepare(Inference())  # what is refused changes nothing
    assert detector.inference == Inference.plain()


def test_class_names_are_checked() -> None:
    with pytest.raises(InputError, match="FrameDetector: classes: should name each class once"):
        FrameDetector(lambda frames: [], class_names=["fox", "fox"])
    with pytest.raises(InputError, match="FrameDetector: classes"):
        FrameDetector(lambda frames: [], class_names=[])
