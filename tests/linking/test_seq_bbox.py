"""Seq-Bbox matching on videos made by hand, offline and online.

The IoU of two boxes 10 wide is 9/11 at a distance of 1, 8/12 at 2, 6/14 at 4 and 4/16 at 6.
"""

from __future__ import annotations

import numpy as np
import pytest

from megavid.core.detections import Detections
from megavid.linking.class_vectors import ScoredBoxes
from megavid.linking.linkers import linker_config
from megavid.linking.seq_bbox import match_by_distance
from tests.linking.made_by_hand import Row, results, square

FORMS = ("seq_bbox", "seq_bbox_online")


def linked(name: str, frames: list[list[Row]], **settings: object) -> list[Detections]:
    stage = linker_config(name, settings, origin="x").start()
    return [r.detections for r in stage(results(frames))]


def best(found: list[Detections]) -> list[Detections]:
    return [f[f.scores > 0.5] for f in found]


def tracks_of(found: Detections) -> list[int]:
    assert found.tracks is not None
    return list(found.tracks.tolist())


def row_of(*lefts: float) -> ScoredBoxes:
    boxes = np.array([square(left) for left in lefts], np.float64)
    return ScoredBoxes(boxes, np.ones((len(lefts), 1), np.float32))


def test_the_sum_of_distances_is_the_smallest() -> None:
    """Boxes at 0 and -3 are paired with boxes at 0 and 3.

    The distances are 1 for equal boxes, 13/7 for boxes that are 3 apart, and 16/4 for boxes that are 6 apart.
    Two pairs that are 3 apart sum to 3.7, the equal boxes and the two that are left to 5.
    """
    rows, columns = match_by_distance(row_of(0, -3), row_of(0, 3), max_distance=10)
    assert dict(zip(rows.tolist(), columns.tolist(), strict=True)) == {0: 1, 1: 0}


def test_distances_are_not_rounded_to_the_type_of_the_limit() -> None:
    """Two pairs that are 1 apart sum to 2 * 11/9 = 2.44, and two that are 0 and 2 apart to 1 + 12/8 = 2.5."""
    rows, columns = match_by_distance(row_of(0, -1), row_of(0, 1), max_distance=10)
    assert dict(zip(rows.tolist(), columns.tolist(), strict=True)) == {0: 1, 1: 0}


def test_distances_have_a_limit_which_is_also_the_cost_of_no_link() -> None:
    assert [len(match_by_distance(row_of(0), row_of(6), max_distance=d)[0]) for d in (3.9, 4.0)] == [0, 1]
    weak = ScoredBoxes(row_of(0).boxes, np.array([[0.1]], np.float32))  # an inner product of 0.1
    assert [len(match_by_distance(weak, row_of(0), max_distance=d)[0]) for d in (9, 11)] == [0, 1]
    apart = match_by_distance(row_of(0), row_of(50), max_distance=1000)
    assert len(apart[0]) == 0


def test_a_class_that_flips_is_outvoted_offline() -> None:
    cat: Row = (0, 0.8, square(0))
    frames: list[list[Row]] = [[cat], [cat], [(1, 0.6, square(0))], [cat], [cat]]
    for found in linked("seq_bbox", frames):
        assert found.labels[0] == 0
        assert found.scores.tolist() == pytest.approx([0.68, 0.2, 0.12])


def test_the_mean_runs_over_the_track_so_far_online() -> None:
    """The cat's score is 0.8, then (0.8 + 0.2) / 2, then (0.8 + 0.2 + 0.8) / 3."""
    frames: list[list[Row]] = [[(0, 0.8, square(0))], [(1, 0.6, square(0))], [(0, 0.8, square(0))]]
    scores = [f.scores[f.labels == 0].item() for f in linked("seq_bbox_online", frames)]
    assert scores == pytest.approx([0.8, 0.5, 0.6])


def test_the_means_of_objects_are_kept_apart_online() -> None:
    """The second object is missed once; the first is lost for too long, and starts again."""
    one: Row = (0, 0.8, square(0))
    frames: list[list[Row]] = [
        [one, (1, 0.8, square(50))],
        [],
        [(1, 0.6, square(50))],
        [],
        [],
        [(0, 0.4, square(0)), (1, 0.7, square(50))],
    ]
    found = linked("seq_bbox_online", frames, max_distance=100)
    last = {label: found[-1].scores[found[-1].labels == label].max().item() for label in (0, 1)}
    assert last == {0: pytest.approx(0.4), 1: pytest.approx(0.7)}
    assert tracks_of(found[-1])[0] == 1
    assert 2 in tracks_of(found[-1])
    assert found[2].scores[0].item() == pytest.approx(0.7)


@pytest.mark.parametrize("name", FORMS)
def test_two_crossing_objects_keep_their_tracks(name: str) -> None:
    frames: list[list[Row]] = [
        [(0, 0.9, square(4.0 * i, side=20)), (1, 0.8, square(46 - 4.0 * i, 3, side=20))] for i in range(13)
    ]
    found = best(linked(name, frames))
    assert [f.labels.tolist() for f in found] == [[0, 1]] * 13
    assert [tracks_of(f) for f in found] == [[0, 1]] * 13


def test_a_missed_frame_is_filled_offline() -> None:
    frames: list[list[Row]] = [[(0, 0.9, square(0))], [(0, 0.9, square(1))], [], [], [(0, 0.6, square(4))]]
    found = best(linked("seq_bbox", frames))
    assert [f.boxes[0].tolist() for f in found] == [square(x) for x in range(5)]
    assert [f.interpolated is not None and f.interpolated.tolist() for f in found] == [
        [False],
        [False],
        [True],
        [True],
        [False],
    ]
    assert [f.scores[0].item() for f in found] == pytest.approx([0.8] * 5)
    assert [tracks_of(f) for f in found] == [[0]] * 5


def test_a_missed_frame_stays_empty_online_but_the_track_goes_on() -> None:
    frames: list[list[Row]] = [[(0, 0.9, square(0))], [], [(0, 0.7, square(1))]]
    found = best(linked("seq_bbox_online", frames))
    assert [tracks_of(f) for f in found] == [[0], [], [0]]
    assert found[2].scores.tolist() == pytest.approx([0.8])
    assert found[2].interpolated is None


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize(("missed", "tracks"), [(3, 1), (4, 2)])
def test_longer_gaps_end_a_track(name: str, missed: int, tracks: int) -> None:
    cat: list[Row] = [(0, 0.9, square(0))]
    found = best(linked(name, [cat, *[[]] * missed, cat]))
    assert len({track for f in found for track in tracks_of(f)}) == tracks
    filled = missed if name == "seq_bbox" and tracks == 1 else 0
    assert [len(f) for f in found] == [1, *[1 if filled else 0] * missed, 1]
    assert found[-1].scores.tolist() == pytest.approx([0.9])


@pytest.mark.parametrize("name", FORMS)
def test_no_links_over_a_cut(name: str) -> None:
    frames: list[list[Row]] = [[(0, 0.9, square(0))]] * 3 + [[(1, 0.7, square(80, 60))]] * 3
    found = best(linked(name, frames))
    assert [tracks_of(f) for f in found] == [[0]] * 3 + [[1]] * 3
    assert [f.labels.tolist() for f in found] == [[0]] * 3 + [[1]] * 3


@pytest.mark.parametrize("name", FORMS)
def test_one_frame_and_an_empty_one_stay_as_they_are(name: str) -> None:
    found = linked(name, [[(0, 0.9, square(0))]])
    assert found[0].boxes[0].tolist() == square(0)
    assert found[0].scores[0].item() == pytest.approx(0.9)
    assert [len(f) for f in linked(name, [[]])] == [0]


def test_both_forms_find_the_same_tracks() -> None:
    frames: list[list[Row]] = [
        [(0, 0.9, square(3.0 * i)), (1, 0.7, square(60 - 2.0 * i, 20))][i % 3 == 1 :] for i in range(12)
    ]
    offline, online = (best(linked(name, frames)) for name in FORMS)
    detected = [f if f.interpolated is None else f[~f.interpolated] for f in offline]
    assert [sorted(tracks_of(f)) for f in detected] == [sorted(tracks_of(f)) for f in online]
