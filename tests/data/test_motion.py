"""Motion IoU: by hand, and the official file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.io

from megavid.core.annotations import NO_TRACK, AnnotationBuilder, Annotations
from megavid.core.errors import InputError
from megavid.data.motion import motion_iou, read_motion_cells, read_motion_mat
from tests.conftest import SHARED, require_shared

Place = tuple[int, int, float]


def moving(*videos: list[Place]) -> Annotations:
    """Boxes of 10x10 by frame number, track and x; a frame for each number."""
    builder = AnnotationBuilder(("a",), root=Path("/d"))
    for i, places in enumerate(videos):
        builder.video(f"v{i}")
        for number in sorted({number for number, _, _ in places}):
            builder.frame(number)
            for _, track, x in (p for p in places if p[0] == number):
                builder.box(x, 0, x + 10, 10, label=0, track=track)
    return builder.build()


def iou(shift: float) -> float:
    return (10 - shift) / (10 + shift)


def test_the_mean_over_the_other_frames() -> None:
    table = moving([(0, 7, 0), (1, 7, 2), (2, 7, 5)])
    a, b, c = iou(2), iou(5), iou(3)
    assert motion_iou(table) == pytest.approx([(a + b) / 2, (a + c) / 2, (b + c) / 2])


def test_ten_frames_to_either_side() -> None:
    table = moving([(3, 0, 0), (13, 0, 5), (23, 0, 5), (34, 0, 0)])
    # By number, not by place: 3-13 and 13-23 are near, 23-34 is not.
    assert motion_iou(table) == pytest.approx([1 / 3, (1 / 3 + 1) / 2, 1, 1])


def test_tracks_and_videos_are_apart() -> None:
    table = moving([(0, 0, 0), (0, 1, 0), (1, 0, 0), (1, 1, 5)], [(0, 0, 5), (1, 0, 5)])
    assert motion_iou(table) == pytest.approx([1, 1 / 3, 1, 1 / 3, 1, 1])


def test_alone_and_without_a_track() -> None:
    table = moving([(0, NO_TRACK, 0), (1, NO_TRACK, 0), (1, 4, 0)])
    assert motion_iou(table) == pytest.approx([np.nan, np.nan, 1], nan_ok=True)


def test_two_boxes_of_a_track_in_a_frame() -> None:
    table = moving([(0, 0, 0), (0, 0, 5)])
    assert motion_iou(table) == pytest.approx([1 / 3, 1 / 3])


def test_no_boxes() -> None:
    assert motion_iou(moving([])).shape == (0,)


def test_a_long_track_is_the_slow_sum() -> None:
    rng = np.random.default_rng(0)
    numbers = sorted(rng.choice(60, 40, replace=False).tolist())
    xs = dict(zip(numbers, rng.uniform(0, 15, 40).tolist(), strict=True))
    expected = [
        np.mean([max(iou(abs(xs[a] - xs[b])), 0) for b in numbers if b != a and abs(a - b) <= 10])
        for a in numbers
    ]
    table = moving([(n, 5, xs[n]) for n in numbers])
    assert motion_iou(table) == pytest.approx(expected, abs=1e-6)


def write_mat(path: Path, frames: list[list[float]]) -> Path:
    cells = np.empty((len(frames), 1), object)
    for i, values in enumerate(frames):
        cells[i, 0] = np.empty((len(values), 1) if values else (1, 0), object)
        for j, value in enumerate(values):
            cells[i, 0][j, 0] = np.array([[value]])
    scipy.io.savemat(path, {"motion_iou": cells})
    return path


def test_an_official_file(tmp_path: Path) -> None:
    table = moving([(0, 0, 0), (0, 1, 0)], [(3, 0, 0)])
    path = write_mat(tmp_path / "motion.mat", [[0.5, 0.25], [0.75]])
    assert read_motion_mat(path, table).tolist() == [0.5, 0.25, 0.75]
    with pytest.raises(InputError, match="has 3 frames, but the data set has 2"):
        read_motion_mat(write_mat(path, [[0.5, 0.25], [0.75], []]), table)
    with pytest.raises(InputError, match="has 0 objects in frame 2, but v1, frame 3 has 1"):
        read_motion_mat(write_mat(path, [[0.5, 0.25], []]), table)
    scipy.io.savemat(path, {"x": 1})
    with pytest.raises(InputError, match=r"motion.mat: expected a MATLAB file with motion_iou"):
        read_motion_mat(path, table)
    with pytest.raises(InputError, match=r"none.mat: cannot be read"):
        read_motion_mat(tmp_path / "none.mat", table)


def test_the_real_official_file_counts_the_other_frames_that_have_the_object() -> None:
    frames = read_motion_cells(require_shared(SHARED / "lists") / "vid_groundtruth_motion_iou.mat")
    values = np.concatenate(frames)
    others = 1e-10 / values[values < 1e-6]  # of objects that never overlap themselves
    assert others == pytest.approx(others.round(), abs=1e-6)
    assert (others.min(), others.max()) == pytest.approx((4, 20))


def test_the_real_official_file() -> None:
    frames = read_motion_cells(require_shared(SHARED / "lists") / "vid_groundtruth_motion_iou.mat")
    assert len(frames) == 176126
    empty = sum(len(values) == 0 for values in frames)
    assert empty == 4046
    values = np.concatenate([*frames, np.zeros(empty)])
    assert len(values) == 277551
    shares = [((values >= low) & (values <= high)).mean() for low, high in ((0, 0.7), (0.7, 0.9), (0.9, 1))]
    assert shares == pytest.approx([0.27236, 0.35387, 0.37378], abs=5e-6)
