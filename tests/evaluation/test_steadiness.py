"""Measures of steadiness, computed by hand; the example is that of the documentation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from megavid.datasets.table.annotations import NO_TRACK, AnnotationBuilder
from megavid.evaluation.steadiness import FOUND, LOST, WRONG_CLASS
from tests.evaluation.tracks import BOX, CAT, DOG, EXAMPLE, FAR, at, measure, moved, one_track, still_tracks


def test_the_example_of_the_documentation() -> None:
    one = measure(one_track(range(10)), *EXAMPLE)
    expected = [LOST, FOUND, WRONG_CLASS, FOUND, LOST, LOST, FOUND, FOUND, LOST, LOST]
    assert one.state.tolist() == expected
    assert one.measures() == pytest.approx(
        {
            "flickers": 20,  # two gaps in ten frames: frame 2, and frames 4 and 5
            "class_switches": 2,  # cat, dog, cat, cat, cat
            "fragments": 3,
            "found": 4 / 10,
            "longest_gap": 2,
            "center_jitter": 1 / 20,  # the offsets along x are +1, -1, +1, -1 pixels
            "size_jitter": 0.1,  # the scales are 0.9, 1.1, 0.9, 1.1, the aspect ratio is the truth's
            "interpolated": np.nan,  # no box is marked
        },
        abs=1e-6,
        nan_ok=True,
    )
    assert (len(one), one.never_found, one.score_threshold) == (1, 0, 0.5)


def test_a_constant_offset_is_no_jitter_and_both_axes_count() -> None:
    shifted = [(t, moved(t, +2, 1.1, 1.1), CAT, 0.9) for t in range(4)]
    values = measure(one_track(range(4)), *shifted).measures()
    assert values["center_jitter"] == pytest.approx(0, abs=1e-6)
    assert values["size_jitter"] == pytest.approx(0, abs=1e-6)
    # Along x, offsets of +2 and -2 of 20 pixels; along y, +1 and -1 of 10 pixels: 0.1 + 0.1.
    shaken = [(t, moved(t, 2 * (-1) ** t, dy=(-1) ** t), CAT, 0.9) for t in range(4)]
    assert measure(one_track(range(4)), *shaken).measures()["center_jitter"] == pytest.approx(0.2, abs=1e-6)


def test_a_changing_aspect_ratio_is_jitter_of_the_size() -> None:
    # Sides of 5/4 and 4/5 of the truth's have the truth's area, and 25/16 of its aspect ratio.
    sizes = [(0, moved(0), CAT, 0.9), (1, moved(1, 0, 5 / 4, 4 / 5), CAT, 0.9)]
    values = measure(one_track(range(2)), *sizes).measures()
    assert values["size_jitter"] == pytest.approx((25 / 16 - 1) / 2, abs=1e-6)
    assert values["center_jitter"] == pytest.approx(0, abs=1e-6)


def test_means_over_several_tracks() -> None:
    # The first object is found in frames 0 and 2, the second in all four, the third never.
    data = still_tracks({"track": 1}, {"track": 2}, {"track": 9})
    found = [(t, at(0), CAT, 0.9) for t in (0, 2)] + [(t, at(1), CAT, 0.9) for t in range(4)]
    one = measure(data, *found)
    values = one.measures()
    assert values["flickers"] == pytest.approx(100 * 1 / 12)
    assert values["fragments"] == (2 + 1) / 2
    assert values["found"] == pytest.approx((2 / 4 + 4 / 4 + 0) / 3)
    assert values["longest_gap"] == (1 + 0) / 2
    assert one.track.tolist() == [1, 2, 9]
    assert one.fragments.tolist() == [2, 1, 0]
    assert one.never_found == 1


def test_class_switches_skip_frames_in_which_nothing_is_detected() -> None:
    data = one_track(range(5))
    seen = [(0, moved(0), DOG, 0.9), (2, moved(2), DOG, 0.9), (4, moved(4), CAT, 0.9)]
    one = measure(data, *seen)
    assert one.class_switches.tolist() == [1]
    assert one.flickers.tolist() == [0]


def test_a_box_of_another_class_does_not_hide_a_hit() -> None:
    both = [(t, moved(t), label, score) for t in range(3) for label, score in ((DOG, 0.9), (CAT, 0.6))]
    one = measure(one_track(range(3)), *both)
    assert one.state.tolist() == [FOUND] * 3
    assert one.class_switches.tolist() == [0]


def test_one_detection_finds_one_object() -> None:
    # Two cats in the same place: in each frame, one detection finds one of them, and a dog is on the other.
    builder = AnnotationBuilder(("cat", "dog"), root=Path("/data"))
    builder.video("v")
    builder.frame(0)
    for track in (1, 2):
        builder.box(*BOX, label=CAT, track=track)
    one = measure(builder.build(), (0, BOX, CAT, 0.9), (0, BOX, DOG, 0.8))
    assert sorted(one.state.tolist()) == [WRONG_CLASS, FOUND]


def test_frames_without_annotation_do_not_count() -> None:
    # The cat is annotated in frames 0, 1, 5 and 6; it is lost in frame 5 only, in the others there is no cat.
    data = one_track([0, 1, 5, 6])
    one = measure(data, *[(t, moved(t), CAT, 0.9) for t in (0, 1, 6)])
    assert one.number.tolist() == [0, 1, 5, 6]
    assert one.longest_gap.tolist() == [1]
    assert one.measures()["found"] == 3 / 4
    assert measure(data, *[(t, moved(t), CAT, 0.9) for t in (0, 1, 5, 6)]).flickers.tolist() == [0]


def test_only_detected_frames_count() -> None:
    data = one_track(range(10))
    found = [(t, moved(t), CAT, 0.9) for t in (0, 3, 9)]
    one = measure(data, *found, detected=np.arange(10) % 3 == 0)
    assert one.number.tolist() == [0, 3, 6, 9]
    assert (one.flickers.tolist(), one.longest_gap.tolist()) == ([1], [1])
    assert one.measures()["found"] == 3 / 4
    assert measure(data, *found, detected=np.zeros(10, np.bool_)) is None


def test_ignored_objects_do_not_count_and_take_their_detections() -> None:
    data = still_tracks({"track": 1}, {"track": 2, "crowd": True}, {"track": 3, "difficult": True})
    one = measure(data, *[(t, at(1), CAT, 0.9) for t in range(4)])
    assert one.track.tolist() == [1]
    assert one.never_found == 1
    # In frame 1, the object of the track is ignored, so its three frames are consecutive.
    builder = AnnotationBuilder(("cat",), root=Path("/data"))
    builder.video("v")
    for t in range(3):
        builder.frame(t)
        builder.box(*BOX, label=CAT, track=1, difficult=t == 1)
    one = measure(builder.build(), (0, BOX, CAT, 0.9), (2, BOX, CAT, 0.9))
    assert (one.number.tolist(), one.flickers.tolist(), one.fragments.tolist()) == ([0, 2], [0], [1])


def test_tracks_of_different_videos_and_classes_are_apart() -> None:
    builder = AnnotationBuilder(("cat", "dog"), root=Path("/data"))
    for name in ("a", "b"):
        builder.video(name)
        for t in range(2):
            builder.frame(t)
            builder.box(*BOX, label=CAT, track=1)
            builder.box(*FAR, label=DOG, track=1)
    one = measure(builder.build(), (1, BOX, CAT, 0.9), (2, BOX, DOG, 0.9), (3, BOX, CAT, 0.9))
    keys = list(zip(one.video.tolist(), one.track.tolist(), one.label.tolist(), strict=True))
    assert keys == [(0, 1, CAT), (0, 1, DOG), (1, 1, CAT), (1, 1, DOG)]
    assert one.found.tolist() == [1, 0, 1, 0]
    assert one.class_switches.tolist() == [0, 0, 1, 0]


@pytest.mark.parametrize("found", [True, False])
def test_a_track_of_one_frame(found: bool) -> None:
    one = measure(one_track([4]), *([(4, moved(4), CAT, 0.9)] if found else []))
    values = one.measures()
    assert (values["flickers"], values["class_switches"], values["found"]) == (0, 0, float(found))
    assert np.isnan([values["center_jitter"], values["size_jitter"]]).all()
    if found:
        assert (values["fragments"], values["longest_gap"]) == (1, 0)
    else:
        assert np.isnan([values["fragments"], values["longest_gap"]]).all()


@pytest.mark.parametrize("threshold", [None, 0.5])
def test_predictions_without_boxes(threshold: float | None) -> None:
    one = measure(one_track(range(10)), threshold=threshold)
    assert one.never_found == 1
    content = one.as_dict()
    assert content["score_threshold"] == threshold
    assert content["found"] == 0
    assert content["fragments"] is content["longest_gap"] is content["center_jitter"] is None


def test_without_a_threshold_no_detection_counts() -> None:
    one = measure(one_track(range(10)), *EXAMPLE, threshold=None)
    assert one.state.tolist() == [LOST] * 10


def test_boxes_without_area_are_left_out_of_the_jitter() -> None:
    builder = AnnotationBuilder(("cat",), root=Path("/data"))
    builder.video("v")
    flat, found = [5.0, 0.0, 5.0, 10.0], []
    for t, box in enumerate((flat, moved(1), moved(2))):
        builder.frame(t)
        builder.box(*box, label=CAT, track=1)
        found.append((t, flat if t == 0 else moved(t, dx=2 * t), CAT, 0.9))
    one = measure(builder.build(), *found)
    assert one.found.tolist() == [3]  # the overlap counts the last column of pixels
    assert one.center_jitter.tolist() == [pytest.approx(1 / 20, abs=1e-6)]  # offsets of 2 and 4 pixels
    assert one.size_jitter.tolist() == [pytest.approx(0, abs=1e-6)]


def test_without_track_ids_nothing_is_measured() -> None:
    assert measure(still_tracks({"track": NO_TRACK}), (0, at(0), CAT, 0.9)) is None
    assert measure(still_tracks({"track": 1, "crowd": True}), (0, at(0), CAT, 0.9)) is None
    assert measure(still_tracks()) is None
    some = measure(still_tracks({"track": NO_TRACK}, {"track": 4}))
    assert some.track.tolist() == [4]
