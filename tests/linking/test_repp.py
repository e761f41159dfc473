"""REPP on videos made by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from megavid.core.detections import Detections
from megavid.core.errors import InputError
from megavid.linking.class_vectors import ScoredBoxes
from megavid.linking.linkers import linker_config
from megavid.linking.pair_model import PairModel, write_pair_model
from megavid.linking.repp import ReppConfig, match_by_model
from tests.linking.made_by_hand import Row, results, square

BY_IOU = PairModel(intercept=-5.0, iou=10.0, width=0, height=0, distance=0)
"""A model whose probability is 1 / (1 + exp(5 - 10 IoU)), so 0.5 at an IoU of 0.5."""


def linked(frames: list[list[Row]], *, class_scores: bool = True, **settings: object) -> list[Detections]:
    config = linker_config("repp", settings, origin="x")
    return [r.detections for r in config.start()(results(frames, class_scores=class_scores))]


def tracks_of(found: Detections) -> list[int]:
    assert found.tracks is not None
    return list(found.tracks.tolist())


def test_the_most_similar_pair_comes_first() -> None:
    """The second box overlaps both boxes of the next frame, but the first box fits the nearer one better."""
    first = ScoredBoxes(np.array([square(0), square(2)], np.float64), np.array([[1.0], [0.9]], np.float32))
    second = ScoredBoxes(np.array([square(1), square(4)], np.float64), np.ones((2, 1), np.float32))
    # IoU: (0, 1) and (2, 1) 9/11, (2, 4) 8/12, (0, 4) 6/14
    pairs = match_by_model(first, second, model=BY_IOU, min_probability=0.6)
    assert [rows.tolist() for rows in pairs] == [[0, 1], [0, 1]]
    first.vectors[:] = [[0.5], [0.9]]  # now the second box is the more similar one, and nothing is left
    pairs = match_by_model(first, second, model=BY_IOU, min_probability=0.6)
    assert [rows.tolist() for rows in pairs] == [[1], [0]]


def test_pairs_need_a_probability_and_a_common_class() -> None:
    """The probability at an IoU of 9/11 is 1 / (1 + exp(5 - 90/11)) = 0.960."""
    one = ScoredBoxes(np.array([square(0)], np.float64), np.array([[1, 0]], np.float32))
    near = ScoredBoxes(np.array([square(1)], np.float64), np.array([[0.1, 0.9]], np.float32))
    for least, pairs in ((0.95, 1), (0.97, 0)):
        assert len(match_by_model(one, near, model=BY_IOU, min_probability=least)[0]) == pairs
    near.vectors[:] = [[0, 1]]
    assert len(match_by_model(one, near, model=BY_IOU, min_probability=0)[0]) == 0


def test_a_class_that_flips_is_outvoted() -> None:
    """The cat is taken for a dog in one of five frames; its mean scores are (4 * 0.8 + 0.2) / 5 = 0.68."""
    cat: Row = (0, 0.8, square(0))
    frames: list[list[Row]] = [[cat], [cat], [(1, 0.6, square(0))], [cat], [cat]]
    for found in linked(frames):
        assert found.labels[0] == 0
        assert found.scores.tolist() == pytest.approx([0.68, 0.2, 0.12])
        assert len(set(tracks_of(found))) == 1


def test_classes_that_are_not_detected_have_the_score_0() -> None:
    """The cat is taken for a dog in one of five frames; without other scores, its mean is 4 * 0.8 / 5."""
    cat: Row = (0, 0.8, square(0))
    both: list[Row] = [(1, 0.6, square(0)), (0, 0.1, square(0))]
    frames = [[cat], [cat], both, [cat], [cat]]
    for found in linked(frames, class_scores=False):
        assert found.labels.tolist() == [0, 1]
        assert found.scores.tolist() == pytest.approx([0.66, 0.12])


def test_two_crossing_objects_keep_their_tracks() -> None:
    """A cat moves right and a dog left by 4 a frame; they cross between the sixth and the seventh frame."""
    frames: list[list[Row]] = [
        [(0, 0.9, square(4.0 * i, side=20)), (1, 0.8, square(46 - 4.0 * i, 3, side=20))] for i in range(13)
    ]
    found = [f[f.scores > 0.5] for f in linked(frames)]
    assert [f.labels.tolist() for f in found] == [[0, 1]] * 13
    assert [tracks_of(f) for f in found] == [tracks_of(found[0])] * 13
    assert len(set(tracks_of(found[0]))) == 2
    assert found[6].boxes[0].tolist() == pytest.approx(square(24, side=20), abs=1e-4)  # a steady motion stays


def test_a_cut_ends_all_tracks() -> None:
    frames: list[list[Row]] = [[(0, 0.9, square(0))]] * 3 + [[(0, 0.9, square(80, 60))]] * 3
    found = linked(frames)
    assert tracks_of(found[2])[0] != tracks_of(found[3])[0]
    assert found[2].boxes[0].tolist() == square(0)  # smoothing does not reach over the cut
    assert found[3].boxes[0].tolist() == square(80, 60)


def test_boxes_without_links_are_dropped_unless_kept() -> None:
    frames: list[list[Row]] = [[(0, 0.9, square(0)), (1, 0.9, square(60))], [(0, 0.9, square(0))]]
    assert [(f.scores > 0.5).sum().item() for f in linked(frames)] == [1, 1]
    assert [(f.scores > 0.5).sum().item() for f in linked(frames, drop_unlinked=False)] == [2, 1]


def test_a_video_of_one_frame_keeps_its_boxes() -> None:
    one: list[list[Row]] = [[(0, 0.9, square(0))]]
    assert [f.boxes[0].tolist() for f in linked(one)] == [square(0)]
    assert [len(f) for f in linked([*one, []])] == [0, 0]


def test_gaps_are_filled_if_the_settings_say_so() -> None:
    frames: list[list[Row]] = [[(0, 0.9, square(0))], [], [(0, 0.9, square(2))]]
    assert [len(f) for f in linked(frames, drop_unlinked=False)] == [3, 0, 3]
    found = linked(frames, max_gap=1, sigma=0)
    assert [f.boxes[0].tolist() for f in found] == [square(0), square(1), square(2)]
    assert [f.interpolated is not None and f.interpolated.tolist() for f in found] == [
        [False] * 3,
        [True] * 3,
        [False] * 3,
    ]
    assert len({track for f in found for track in tracks_of(f)}) == 1


def test_boxes_are_smoothed_within_their_track() -> None:
    """A box that jitters by 2 becomes nearly steady with sigma = 1."""
    frames: list[list[Row]] = [[(0, 0.9, square(20.0 + 2 * (i % 2), side=20))] for i in range(12)]
    lefts = torch.stack([f.boxes[0, 0] for f in linked(frames)])
    assert lefts[4:8].tolist() == pytest.approx([21] * 4, abs=0.02)
    assert [f.boxes[0, 0].item() for f in linked(frames, sigma=0)][4:6] == [20, 22]


def test_a_model_of_ones_own_is_used(tmp_path: Path) -> None:
    never = PairModel(intercept=-100.0, iou=0, width=0, height=0, distance=0)
    write_pair_model(never, tmp_path / "never.json", about={})
    frames: list[list[Row]] = [[(0, 0.9, square(0))]] * 3
    assert [len(f) for f in linked(frames, model=str(tmp_path / "never.json"))] == [0, 0, 0]
    with pytest.raises(InputError, match="none.json"):
        ReppConfig(model=str(tmp_path / "none.json")).start()
