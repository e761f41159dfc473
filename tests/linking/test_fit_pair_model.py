"""Fitting the pair model on boxes of known objects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from megavid.core.errors import InputError
from megavid.datasets.table.annotations import AnnotationBuilder
from megavid.evaluation.boxes import Boxes
from megavid.linking.fit_pair_model import (
    LARGEST_DISTANCE,
    TrackedBoxes,
    draw_triplets,
    fit_pair_model,
    match_tracks,
)


def tracked(rows: list[tuple[int, int, int, float]], *, side: float = 10) -> TrackedBoxes:
    """Make square boxes; each row has a video, a frame, a track and a left edge."""
    video, frame, track = (np.array([row[i] for row in rows], np.int64) for i in range(3))
    boxes = np.array([[row[3], 0, row[3] + side, side] for row in rows], np.float64).reshape(-1, 4)
    return TrackedBoxes(boxes, video, frame, track)


def two_objects(frames: int = 40) -> TrackedBoxes:
    """Make two objects that stand still, 100 apart."""
    return tracked([(0, frame, track, 100.0 * track) for frame in range(frames) for track in (0, 1)])


def test_triplets_are_of_the_same_and_of_another_object() -> None:
    found = tracked(
        [(v, frame, track, 0) for v in (0, 1) for frame in range(0, 60, 3) for track in (5, 6, 7)]
    )
    rows = draw_triplets(found, count=2000, rng=np.random.default_rng(0))
    video, frame, track = found.video[rows], found.frame[rows], found.track[rows]
    assert (video[:, 0] == video[:, 1]).all()
    assert (track[:, 0] == track[:, 1]).all()
    distance = np.abs(frame[:, 0] - frame[:, 1])
    assert set(distance.tolist()) == set(range(3, LARGEST_DISTANCE, 3))
    assert ((video[:, 0] != video[:, 2]) | (track[:, 0] != track[:, 2])).all()
    same_frame = (video[:, 1] == video[:, 2]) & (frame[:, 1] == frame[:, 2])
    # A chance of 0.9 to stay in the frame, and 1/20 of the 0.09 that stay in the video come back to it.
    assert same_frame.mean() == pytest.approx(0.9 + 0.09 / 20, abs=0.02)
    assert (video[:, 0] != video[:, 2]).mean() == pytest.approx(0.01 * 0.6, abs=0.006)


def test_a_separable_toy_is_learned() -> None:
    """Boxes of an object are equal, and those of two objects 100 apart."""
    fitted = fit_pair_model([two_objects()], triplets=500, validation=100)
    assert fitted.accuracy == 1
    assert fitted.boxes == 80
    still, moved = np.array([[0, 0, 10, 10.0]]), np.array([[100, 0, 110, 10.0]])
    assert fitted.model.probability(still, still)[0, 0] > 0.9
    assert fitted.model.probability(still, moved)[0, 0] < 0.1
    assert fitted.model.iou > 0
    assert fitted.model.distance < 0
    assert fit_pair_model([two_objects()], triplets=500, validation=100) == fitted  # the draws are seeded


def concentric(frames: int, *, swap: bool) -> TrackedBoxes:
    """Make two objects with the same center, 20 and 40 wide; they may swap their sizes in every frame."""
    video, frame, track = (
        np.zeros(2 * frames, np.int64),
        np.repeat(np.arange(frames), 2),
        np.arange(2 * frames),
    )
    half = np.where((track + (frame if swap else 0)) % 2, 20.0, 10.0)[:, None]
    return TrackedBoxes(np.hstack((-half, -half, half, half)), video, frame, track % 2)


def test_each_data_set_gives_as_many_triplets() -> None:
    """In the large set, no pair of boxes of different size is of one object; in the small one, half are.

    So a quarter of all these pairs are, if each set gives as many.
    """
    large, small = concentric(300, swap=False), concentric(20, swap=True)
    boxes = np.array([[-10, -10, 10, 10.0]]), np.array([[-20, -20, 20, 20.0]])
    for sources, expected in (([large], 0.0), ([large, small], 0.25)):
        model = fit_pair_model(sources, triplets=4000, validation=100).model
        assert model.probability(*boxes)[0, 0] == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [(0, 0, 0, 0.0), (0, 1, 0, 0.0)],  # one object
        [(0, 0, 0, 0.0), (0, 0, 1, 50.0)],  # one frame
        [(0, 0, 0, 0.0), (0, 25, 0, 0.0), (0, 0, 1, 50.0)],  # too far apart
    ],
)
def test_too_few_objects_are_refused(rows: list[tuple[int, int, int, float]]) -> None:
    with pytest.raises(InputError, match="^--fit: expected detections of two objects or more"):
        fit_pair_model([tracked(rows)], triplets=10, validation=10)


def test_objects_get_the_detection_with_the_highest_iou() -> None:
    builder = AnnotationBuilder(("cat", "dog"), root=Path())
    builder.video("a")
    builder.frame(3)
    builder.box(0, 0, 100, 100, label=0, track=4)
    builder.box(200, 0, 300, 100, label=1)  # without a track
    builder.box(400, 0, 500, 100, label=1, track=9)  # not detected
    builder.frame(5)
    builder.box(0, 0, 100, 100, label=0, track=4)
    near, nearer, elsewhere = [20, 0, 120, 100], [10, 0, 110, 100], [200, 0, 300, 100]
    found = Boxes([0, 0, 0, 1], [near, nearer, elsewhere, near], [0, 1, 1, 0], [0.9, 0.1, 0.9, 0.5])
    tracks = match_tracks(found, builder.build())
    assert tracks.boxes.tolist() == [nearer, near]
    assert tracks.frame.tolist() == [3, 5]
    assert tracks.track.tolist() == [4, 4]
    assert tracks.video.tolist() == [0, 0]
