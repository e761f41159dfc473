"""Training clips and their order."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from megavid.core.errors import InputError
from megavid.core.reference_plans import ReferenceGroup, TrainingPlan, training_indexes
from megavid.datasets.clip_order import ClipOrder, has_objects
from megavid.datasets.table.annotations import AnnotationBuilder, Annotations
from tests.datasets.tables import without_boxes

PLAN = TrainingPlan(
    (
        ReferenceGroup(name="local", count=2, low=-2, high=2),
        ReferenceGroup(name="memory", count=3, low=-2, high=2, center=-5),
        ReferenceGroup(name="global", count=2, anywhere=True),
    )
)


def make(classes: tuple[str, ...] = ("cat", "dog"), *, start: int = 0, stills: int = 0) -> Annotations:
    """Make two videos of ten frames, numbered from 100.

    In each, frames 103 and 104 have no object, frame 105 has an object outside the image, and frame 106 is
    not listed.
    """
    builder = AnnotationBuilder(classes, root=Path("data"))
    for video in range(2):
        builder.video(f"v{start + video}")
        for t in range(10):
            builder.frame(100 + t, file=f"{video}/{t}.png", width=50, height=40, listed=t != 6)
            if t == 5:
                builder.box(60, 10, 70, 20, label=0)
            elif t not in {3, 4}:
                builder.box(1, 2, 30, 20, label=video)
    for still in range(stills):
        builder.video(f"still{still}")
        builder.frame(0, file=f"still{still}.png", width=50, height=40)
        builder.box(1, 2, 30, 20, label=0)
    return builder.build()


def test_frames_without_objects_are_not_key_frames() -> None:
    assert np.flatnonzero(~has_objects(make())).tolist() == [3, 4, 5, 13, 14, 15]


def test_narrow_boxes_and_crowds_are_not_trained_on() -> None:
    builder = AnnotationBuilder(("cat",), root=Path("data"))
    builder.video("v")
    boxes = {0: (49.4, 2, 60, 20), 1: (48.9, 2, 60, 20), 2: (1, 2, 1.5, 20), 3: (1, 2, 30, 20)}
    for t, box in boxes.items():
        builder.frame(t, file=f"{t}.png", width=50, height=40)
        builder.box(*box, label=0, difficult=t == 3)
    assert has_objects(builder.build()).tolist() == [False, True, False, False]


def test_an_epoch_has_every_key_frame_once() -> None:
    order = ClipOrder([make(stills=1)], PLAN, seed=0)
    expected = [0, 1, 2, 7, 8, 9, 10, 11, 12, 17, 18, 19, 20]
    assert len(order) == len(expected)
    epochs = [[order[i].key for i in range(13 * e, 13 * e + 13)] for e in range(3)]
    assert all(sorted(epoch) == expected for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2] != sorted(epochs[2])


def test_a_clip_depends_only_on_its_number_and_the_seed() -> None:
    one, other = ClipOrder([make()], PLAN, seed=3), ClipOrder([make()], PLAN, seed=3)
    forwards = [one[i] for i in range(40)]
    assert [other[i] for i in reversed(range(40))] == forwards[::-1]
    assert [ClipOrder([make()], PLAN, seed=4)[i] for i in range(40)] != forwards
    assert len({clip.seed for clip in forwards}) == 40


def test_references_are_frames_of_the_video_of_the_key_frame() -> None:
    order = ClipOrder([make(stills=1)], PLAN, seed=0)
    seen: dict[str, set[int]] = {"local": set(), "memory": set(), "global": set()}
    for i in range(400):
        clip = order[i]
        span = range(20, 21) if clip.key == 20 else range(clip.key // 10 * 10, clip.key // 10 * 10 + 10)
        assert {name: len(rows) for name, rows in clip.references.items()} == {
            "local": 2,
            "memory": 3,
            "global": 2,
        }
        for name, rows in clip.references.items():
            assert all(row in span for row in rows)
            if clip.key == 9:
                seen[name].update(rows)
    # Rows 3 to 6 cannot be key frames, but they can be references.
    assert seen == {"local": {7, 8, 9}, "memory": {2, 3, 4, 5, 6}, "global": set(range(10))}


def test_a_still_image_is_its_own_reference() -> None:
    order = ClipOrder([make(stills=1)], PLAN, seed=0)
    [clip] = [order[i] for i in range(13) if order[i].key == 20]
    assert clip.references == {"local": (20, 20), "memory": (20, 20, 20), "global": (20, 20)}


def test_data_sets_are_mixed_evenly() -> None:
    order = ClipOrder([make(), make(start=5, stills=12)], PLAN, seed=0)
    counts = Counter(order[i].data for i in range(len(order)))
    assert counts == {0: 12, 1: 24}
    assert len({order[i].data for i in range(8)}) == 2


def test_clips_are_flipped_with_the_given_probability() -> None:
    for share, expected in ((0.0, 0), (1.0, 200)):
        order = ClipOrder([make()], PLAN, seed=0, flip=share)
        assert sum(order[i].flip for i in range(200)) == expected
    order = ClipOrder([make()], PLAN, seed=0)
    assert 70 < sum(order[i].flip for i in range(200)) < 130


def test_data_sets_with_different_classes_are_refused() -> None:
    with pytest.raises(InputError, match="expected the classes of .*: cat, dog; got dog, cat"):
        ClipOrder([make(), make(("dog", "cat"))], PLAN, seed=0)


def test_data_without_trainable_frames_is_refused() -> None:
    with pytest.raises(InputError, match="no frame to train on"):
        ClipOrder([without_boxes(make())], PLAN, seed=0)


def test_offsets_are_drawn_without_replacement() -> None:
    plan = TrainingPlan((ReferenceGroup(name="local", count=5, low=-2, high=2),))
    rng = np.random.default_rng(0)
    for _ in range(20):
        assert sorted(training_indexes(plan, 10, 20, rng)["local"]) == [8, 9, 10, 11, 12]
        # The drawn offsets -2, -1 and 0 lead to frame 0, where the video starts.
        assert sorted(training_indexes(plan, 0, 20, rng)["local"]) == [0, 0, 0, 1, 2]
    more = TrainingPlan((ReferenceGroup(name="all", count=4, anywhere=True),))
    assert set(training_indexes(more, 0, 2, rng)["all"]) <= {0, 1}
