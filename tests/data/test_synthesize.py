"""The generator of clips: the same for a seed, and annotated with what can be seen in the pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from megavid.core.errors import InputError
from megavid.data.synthesize import CLASSES, Clip, render_clip

HEIGHT, WIDTH, FRAMES = 72, 96, 40


def _clip(seed: int, num_objects: int = 4, num_frames: int = FRAMES) -> Clip:
    return render_clip(seed=seed, num_frames=num_frames, height=HEIGHT, width=WIDTH, num_objects=num_objects)


def test_fields_have_the_shapes_and_types_that_they_promise() -> None:
    clip = _clip(0, num_objects=3)

    fields: list[tuple[NDArray[Any], tuple[int, ...], type]] = [
        (clip.images, (FRAMES, HEIGHT, WIDTH, 3), np.uint8),
        (clip.boxes, (FRAMES, 3, 4), np.float32),
        (clip.labels, (3,), np.int64),
        (clip.track_ids, (3,), np.int64),
        (clip.visible, (FRAMES, 3), np.bool_),
    ]
    for field, shape, dtype in fields:
        assert field.shape == shape
        assert field.dtype == dtype
    assert clip.track_ids.tolist() == [0, 1, 2]


def test_a_seed_fixes_the_clip() -> None:
    first, again, other = _clip(5), _clip(5), _clip(6)

    for name in ("images", "boxes", "labels", "track_ids", "visible"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert not np.array_equal(first.images, other.images)


def test_a_longer_clip_begins_with_the_shorter_one() -> None:
    short, long = _clip(5, num_frames=7), _clip(5, num_frames=FRAMES)

    np.testing.assert_array_equal(short.images, long.images[:7])
    np.testing.assert_array_equal(short.boxes, long.boxes[:7])
    np.testing.assert_array_equal(short.visible, long.visible[:7])
    np.testing.assert_array_equal(short.labels, long.labels)


@pytest.mark.parametrize("seed", range(12))
def test_boxes_are_tight_round_the_pixels_that_the_object_changes(seed: int) -> None:
    without, with_object = _clip(seed, num_objects=1), _clip(seed, num_objects=2)
    np.testing.assert_array_equal(without.boxes, with_object.boxes[:, :1])

    changed = (without.images != with_object.images).any(axis=-1)
    for mask, box, visible in zip(changed, with_object.boxes[:, 1], with_object.visible[:, 1], strict=True):
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if not visible:
            assert rows.size == 0
            assert box.tolist() == [0, 0, 0, 0]
            continue
        if rows.size == 0:  # a sliver of a pixel at the frame's edge, too faint to change a value
            assert (box[2:] - box[:2]).min() <= 1
            continue
        tight = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
        slack = (tight - box) * [1, 1, -1, -1]
        assert slack.min() >= 0, "object pixels outside of the box"
        assert slack.max() <= 1, "a side that no object pixel touches"


def test_visible_boxes_lie_in_the_frame_and_are_not_empty() -> None:
    for seed in range(10):
        clip = _clip(seed)
        boxes = clip.boxes[clip.visible]
        assert (boxes[:, :2] >= 0).all()
        assert (boxes[:, 2:] <= [WIDTH, HEIGHT]).all()
        assert (boxes[:, :2] < boxes[:, 2:]).all()


def test_objects_move_smoothly_and_leave_in_some_clips() -> None:
    clips = [_clip(seed, num_frames=120) for seed in range(8)]

    assert any(not clip.visible.all() for clip in clips)
    for clip in clips:
        # Of an object cut off by the frame's edge, the visible part's box may jump.
        edges = np.array([WIDTH, HEIGHT, WIDTH, HEIGHT])
        whole = np.minimum(clip.boxes, edges - clip.boxes).min(axis=-1) > 0
        steps = np.abs(np.diff(clip.boxes, axis=0))[whole[1:] & whole[:-1]]
        assert steps.max() < HEIGHT / 8
        assert steps.max(axis=-1).mean() > 0.3


def test_objects_turn_and_change_size() -> None:
    clip = render_clip(seed=0, num_frames=60, height=200, width=300, num_objects=4)
    sizes = clip.boxes[..., 2:] - clip.boxes[..., :2]
    to_the_edge = np.minimum(clip.boxes, np.array([300, 200, 300, 200]) - clip.boxes).min(axis=-1)

    triangle, disc = (
        sizes[to_the_edge[:, n] > 0, n]
        for n in (clip.labels.tolist().index(CLASSES.index(name)) for name in ("triangle", "disc"))
    )
    assert np.ptp(triangle[:, 0] / triangle[:, 1]) > 0.1  # only a turn changes the box's proportions
    assert np.ptp(disc[:, 0]) > 0.05 * disc[:, 0].mean()
    np.testing.assert_allclose(disc[:, 0], disc[:, 1], atol=1.01)


def test_the_background_moves() -> None:
    clip = _clip(1, num_objects=0)

    assert clip.boxes.shape == (FRAMES, 0, 4)
    moved = np.abs(np.diff(clip.images.astype(np.int64), axis=0)).mean(axis=(1, 2, 3))
    assert moved.min() > 0
    assert moved.max() < 40
    assert clip.images[0].std() > 10


def test_labels_index_the_classes_and_every_class_occurs() -> None:
    labels = np.concatenate([_clip(seed, num_objects=8, num_frames=1).labels for seed in range(12)])

    assert len(set(CLASSES)) == len(CLASSES)
    assert set(labels.tolist()) == set(range(len(CLASSES)))


def test_the_smallest_frame_renders() -> None:
    clip = render_clip(seed=0, num_frames=1, height=16, width=16, num_objects=1)

    assert clip.images.shape == (1, 16, 16, 3)


@pytest.mark.parametrize(
    ("name", "value"),
    [("seed", -1), ("num_frames", 0), ("height", 15), ("width", 0), ("num_objects", -2)],
)
def test_a_number_that_is_too_small_is_named(name: str, value: int) -> None:
    arguments = {"seed": 0, "num_frames": 1, "height": 32, "width": 32, "num_objects": 1}

    with pytest.raises(InputError, match=rf"{name}.*{value}"):
        render_clip(**{**arguments, name: value})
