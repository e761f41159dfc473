"""Assigning track ids to detections, and keeping and drawing them."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from megavid import Detections, InputError
from megavid.linking.tracking import Tracker
from megavid.video.render import draw_detections, label_color


def found(*boxes: tuple[float, float, float, float, int]) -> Detections:
    rows = torch.tensor([box[:4] for box in boxes]).reshape(-1, 4)
    scores = torch.linspace(0.9, 0.8, len(boxes))
    labels = torch.tensor([int(box[4]) for box in boxes], dtype=torch.int64)
    return Detections(rows, scores, labels, ("cat", "dog"))


def test_an_object_keeps_its_id() -> None:
    tracker = Tracker(rate=25)
    ids = []
    for t in range(8):
        right, left = (10.0 + 2 * t, 10, 50 + 2 * t, 50, 0), (150.0 - 2 * t, 70, 190 - 2 * t, 110, 1)
        objects = (right, left) if t % 2 else (left, right)  # the order of detections alternates
        detections = tracker.update(found(*objects))
        assert torch.equal(detections.boxes, found(*objects).boxes)
        assert detections.tracks is not None
        ids.append(detections.tracks.tolist() if t % 2 else detections.tracks.tolist()[::-1])
    assert ids[-1][0] != ids[-1][1]
    assert ids[0] == [-1, -1]
    assert all(pair == ids[-1] for pair in ids[1:])
    assert min(ids[-1]) >= 0


def test_an_object_that_reappears_gets_its_id_back() -> None:
    tracker = Tracker(rate=25)
    seen = [tracker.update(found((10, 10, 60, 60, 0))).tracks for _ in range(4)]
    for _ in range(5):
        none = tracker.update(found())
        assert none.tracks is not None
        assert len(none.tracks) == 0
    # The object reappears with another class.
    again = [tracker.update(found((12, 10, 62, 60, 1))).tracks for _ in range(2)]
    assert seen[-1] is not None
    assert again[-1] is not None
    assert again[-1].tolist() == seen[-1].tolist() != [-1]


def test_selected_and_converted_detections_keep_their_tracks() -> None:
    detections = Detections(
        torch.zeros(3, 4),
        torch.ones(3),
        torch.zeros(3, dtype=torch.int64),
        ("cat",),
        torch.tensor([4, -1, 7]),
    )
    chosen = detections[[2, 0]].tracks
    assert chosen is not None
    assert chosen.tolist() == [7, 4]
    ids = detections.to_supervision().tracker_id
    assert ids is not None
    assert ids.tolist() == [4, -1, 7]
    with pytest.raises(ValueError, match=r"expected tracks \(3,\)"):
        Detections(torch.zeros(3, 4), torch.ones(3), torch.zeros(3), ("cat",), torch.zeros(2))


def test_a_track_is_drawn_in_its_color() -> None:
    box = torch.tensor([[20.0, 40, 80, 90]])
    plain = Detections(box, torch.ones(1), torch.zeros(1, dtype=torch.int64), ("cat",))
    tracked = Detections(*(plain.boxes, plain.scores, plain.labels, plain.class_names), torch.tensor([5]))
    untracked = Detections(*(plain.boxes, plain.scores, plain.labels, plain.class_names), torch.tensor([-1]))
    image = np.zeros((100, 120, 3), np.uint8)
    assert tuple(draw_detections(image, tracked)[89, 50]) == label_color(5)
    assert (draw_detections(image, untracked) == draw_detections(image, plain)).all()


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trackers", None)
    with pytest.raises(InputError, match="pip install trackers"):
        Tracker(rate=25)
