"""The bootstrap over videos: AP of resamples, tested by hand and by scoring drawn videos, and intervals."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from megavid.evaluation import Boxes, average_precision
from megavid.evaluation.bootstrap import (
    Resamples,
    draw_videos,
    mean_over_classes,
    percentile_interval,
    resample_ap,
)
from megavid.evaluation.outcomes import Outcomes
from tests.evaluation.all_outcomes import all_outcomes

A, FAR = [0, 0, 10, 10], [100, 100, 110, 110]


def outcomes_of(found: Boxes, truth: Boxes, *, num_frames: int) -> Outcomes:
    [outcomes] = all_outcomes(found, truth, num_frames=num_frames)
    return outcomes


def drawn(frame_video: list[int], *counts: list[int]) -> Resamples:
    return Resamples(np.array(frame_video), np.array(counts, np.uint8))


def test_resampled_ap_computed_by_hand() -> None:
    # Three videos of one frame each: a hit with score 0.9; a missed object and a false positive with score
    # 0.8; a hit with score 0.7.
    truth = Boxes([0, 1, 2], [A, A, A], [0, 0, 0])
    found = Boxes([0, 1, 2], [A, FAR, A], [0, 0, 0], [0.9, 0.8, 0.7])
    outcomes = outcomes_of(found, truth, num_frames=3)
    ap = resample_ap(outcomes, drawn([0, 1, 2], [1, 1, 1], [3, 0, 0], [0, 3, 0], [0, 1, 2], [1, 0, 2]))
    # Counts [0, 1, 2]: of three objects, two are hit after a false positive, at precisions 1/2 and 2/3.
    assert ap.tolist() == pytest.approx([1 / 3 + (1 / 3) * (2 / 3), 1, 0, (2 / 3) * (2 / 3), 1])


def test_a_resample_without_objects_has_no_ap() -> None:
    truth, found = Boxes([0], [A], [0]), Boxes([0, 1], [A, A], [0, 0], [0.9, 0.8])
    ap = resample_ap(outcomes_of(found, truth, num_frames=2), drawn([0, 1], [0, 2], [1, 1]))
    assert np.isnan(ap[0])
    assert ap[1] == 1


def random_set(seed: int, *, frames: int) -> tuple[Boxes, Boxes]:
    """Make detections and objects; some detections hit, some miss, and no two have equal scores."""
    rng = np.random.default_rng(seed)
    truth_frame = np.sort(rng.integers(0, frames, 3 * frames))
    corner = rng.integers(0, 60, (len(truth_frame), 2))
    truth = Boxes(truth_frame, np.hstack((corner, corner + 20)), np.zeros(len(truth_frame), int))
    rows = rng.choice(len(truth_frame), 2 * frames)
    moved = truth.xyxy[rows] + rng.integers(-6, 7, (len(rows), 4))
    moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 1)
    score = rng.permutation(len(rows)) / len(rows)
    return Boxes(truth_frame[rows], moved, np.zeros(len(rows), int), score), truth


def repeated(boxes: Boxes, counts: NDArray[np.integer], frames_a_video: int) -> tuple[Boxes, int]:
    """Copy the boxes of each drawn video to new frames, once per draw; also return the number of frames."""
    frames, rows, start = [], [], 0
    for video, count in enumerate(counts.tolist()):
        mine = np.flatnonzero(boxes.frame // frames_a_video == video)
        for _ in range(count):
            rows.append(mine)
            frames.append(boxes.frame[mine] % frames_a_video + start)
            start += frames_a_video
    chosen = boxes.take(np.concatenate(rows))
    return Boxes(np.concatenate(frames), chosen.xyxy, chosen.label, chosen.score), start


def test_resampled_ap_equals_the_ap_of_the_drawn_videos() -> None:
    found, truth = random_set(0, frames=20)
    frame_video = np.repeat(np.arange(5), 4)
    resamples = draw_videos(frame_video, resamples=70, seed=3)
    assert resamples is not None
    assert (resamples.counts.sum(axis=1) == 5).all()
    ap = resample_ap(outcomes_of(found, truth, num_frames=20), resamples)
    assert len(set(ap.tolist())) > 40
    for got, counts in zip(ap.tolist(), resamples.counts, strict=True):
        (some, frames), (objects, _) = (repeated(boxes, counts, 4) for boxes in (found, truth))
        expected = average_precision(some, objects, num_frames=frames, num_classes=1).mean
        assert got == pytest.approx(expected, abs=1e-12)


def test_drawing_every_video_once_gives_the_ap_of_the_data_set() -> None:
    found, truth = random_set(1, frames=12)
    once = Resamples(np.repeat(np.arange(3), 4), np.ones((1, 3), np.uint8))
    [ap] = resample_ap(outcomes_of(found, truth, num_frames=12), once)
    expected = average_precision(found, truth, num_frames=12, num_classes=1).mean
    assert ap == pytest.approx(expected, abs=1e-12)
    assert 0.1 < ap < 0.9


def test_one_video_has_no_resamples() -> None:
    assert draw_videos(np.zeros(30, int)) is None
    assert draw_videos(np.full(30, 7)) is None


def test_draws_depend_on_the_seed_and_leave_out_videos_without_frames() -> None:
    one, two, other = (draw_videos(np.array([0, 0, 4, 9]), seed=seed) for seed in (0, 0, 1))
    assert one is not None
    assert two is not None
    assert other is not None
    assert one.counts.shape == (1000, 3)
    np.testing.assert_array_equal(one.counts, two.counts)
    assert (one.counts != other.counts).any()
    assert one.frame_video.tolist() == [0, 0, 1, 2]
    # On average over the resamples, each video is drawn once.
    assert one.counts.mean(axis=0) == pytest.approx(1, abs=0.1)


def test_the_mean_over_classes_excludes_classes_without_ap() -> None:
    mean = mean_over_classes(np.array([[0.5, 1.0], [np.nan, 0.25], [np.nan, np.nan]]))
    np.testing.assert_array_equal(mean, [0.75, 0.25, np.nan])


def test_an_interval_contains_the_middle_95_percent_of_the_values() -> None:
    interval = percentile_interval(np.append(np.arange(101) / 100, np.nan))
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx((0.025, 0.975))
    assert 0.5 in interval
    assert 0.98 not in interval
    assert percentile_interval(np.array([np.nan])) is None
