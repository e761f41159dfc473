"""Motion IoU, and the official file of motion IoUs."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from megavid.core.errors import InputError
from megavid.datasets.motion import motion_iou, read_motion_cells, read_motion_mat
from megavid.datasets.table.annotations import NO_TRACK, AnnotationBuilder, Annotations
from tests.conftest import SHARED, require_shared
from tests.mutations import ends_well, mutated_bytes, mutators

Place = tuple[int, int, float]


def moving(*videos: list[Place]) -> Annotations:
    """Make videos of 10x10 boxes, given the frame number, the track and the left edge of each box."""
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


def test_motion_iou_is_the_mean_iou_with_other_frames() -> None:
    table = moving([(0, 7, 0), (1, 7, 2), (2, 7, 5)])
    a, b, c = iou(2), iou(5), iou(3)
    assert motion_iou(table) == pytest.approx([(a + b) / 2, (a + c) / 2, (b + c) / 2])


def test_the_window_reaches_ten_frame_numbers_to_each_side() -> None:
    table = moving([(3, 0, 0), (13, 0, 5), (23, 0, 5), (34, 0, 0)])
    # Frames 3 and 13, and 13 and 23, are ten apart, so they are compared. Frames 23 and 34 are not.
    assert motion_iou(table) == pytest.approx([1 / 3, (1 / 3 + 1) / 2, 1, 1])


def test_tracks_and_videos_are_independent() -> None:
    table = moving([(0, 0, 0), (0, 1, 0), (1, 0, 0), (1, 1, 5)], [(0, 0, 5), (1, 0, 5)])
    assert motion_iou(table) == pytest.approx([1, 1 / 3, 1, 1 / 3, 1, 1])


def test_boxes_without_tracks_have_no_motion_iou_and_single_boxes_have_1() -> None:
    table = moving([(0, NO_TRACK, 0), (1, NO_TRACK, 0), (1, 4, 0)])
    assert motion_iou(table) == pytest.approx([np.nan, np.nan, 1], nan_ok=True)


def test_two_boxes_of_a_track_in_one_frame_are_compared() -> None:
    table = moving([(0, 0, 0), (0, 0, 5)])
    assert motion_iou(table) == pytest.approx([1 / 3, 1 / 3])


def test_without_boxes_there_are_no_motion_ious() -> None:
    assert motion_iou(moving([])).shape == (0,)


def test_a_long_track_agrees_with_a_simple_loop() -> None:
    rng = np.random.default_rng(0)
    numbers = sorted(rng.choice(60, 40, replace=False).tolist())
    xs = dict(zip(numbers, rng.uniform(0, 15, 40).tolist(), strict=True))
    expected = [
        np.mean([max(iou(abs(xs[a] - xs[b])), 0) for b in numbers if b != a and abs(a - b) <= 10])
        for a in numbers
    ]
    table = moving([(n, 5, xs[n]) for n in numbers])
    assert motion_iou(table) == pytest.approx(expected, abs=1e-6)


def write_mat(path: Path, frames: list[list[float]], *, compressed: bool = False) -> Path:
    cells = np.empty((len(frames), 1), object)
    for i, values in enumerate(frames):
        cells[i, 0] = np.empty((len(values), 1) if values else (1, 0), object)
        for j, value in enumerate(values):
            cells[i, 0][j, 0] = np.array([[value]])
    scipy.io.savemat(path, {"other": np.eye(2), "motion_iou": cells}, do_compression=compressed)
    return path


def test_a_file_in_the_official_format_is_read(tmp_path: Path) -> None:
    table = moving([(0, 0, 0), (0, 1, 0)], [(3, 0, 0)])
    path = write_mat(tmp_path / "motion.mat", [[0.5, 0.25], [0.75]])
    assert read_motion_mat(path, table).tolist() == [0.5, 0.25, 0.75]
    with pytest.raises(InputError, match="has 3 frames, but the data set has 2"):
        read_motion_mat(write_mat(path, [[0.5, 0.25], [0.75], []]), table)
    with pytest.raises(InputError, match="has 0 objects in frame 2, but v1, frame 3 has 1"):
        read_motion_mat(write_mat(path, [[0.5, 0.25], []]), table)
    scipy.io.savemat(path, {"x": 1})
    with pytest.raises(InputError, match=r"motion.mat: expected a MATLAB file with motion_iou.*without"):
        read_motion_mat(path, table)
    with pytest.raises(InputError, match=r"none.mat: no such file"):
        read_motion_mat(tmp_path / "none.mat", table)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("kind", [np.float64, np.float32, np.uint8, np.int16])
def test_cells_of_any_numeric_type_are_read(tmp_path: Path, compressed: bool, kind: type) -> None:
    cells = np.empty((4, 1), object)
    cells[:, 0] = [kind(1), np.array([[0, 1, 1]], kind), np.empty((0, 0)), np.array([[0]], kind)]
    scipy.io.savemat(tmp_path / "motion.mat", {"motion_iou": cells}, do_compression=compressed)
    read = read_motion_cells(tmp_path / "motion.mat")
    assert [values.tolist() for values in read] == [[1], [0, 1, 1], [], [0]]


def test_invalid_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "motion.mat"
    content = write_mat(path, [[0.5]]).read_bytes()
    objects = np.empty((1, 1), object)
    objects[0, 0] = "text"
    two = np.empty((1, 1), object)
    two[0, 0] = np.empty((1, 1), object)
    two[0, 0][0, 0] = np.array([[0.5, 0.5]])
    for value, message in (
        (np.eye(3), "expected cells, got a matrix of class 6"),
        (objects, "holds something other than numbers .class 4"),
        (two, "a cell in a cell holds 2 numbers"),
        (write_mat(path, [[0.5], [1.5]]).read_bytes(), "expected motion IoUs from 0 to 1, got 1.5"),
        (write_mat(path, [[0.5], [np.nan]]).read_bytes(), "expected motion IoUs from 0 to 1, got nan"),
        (b"<!DOCTYPE html>", "got a web page"),
        (b"", "got an empty file"),
        (b"\x89HDF\r\n\x1a\n", "got an HDF5 file"),
        (b"MATLAB 7.3".ljust(126) + b"IM", "got one of MATLAB 7.3, which is HDF5"),
        (content[:126] + b"MI" + content[128:], "got one of a machine with another order of bytes"),
        (content[:-8], "it is broken"),
        (_packed(bytes(1 << 27)), "a compressed part is incomplete"),
        (_packed(*[struct.pack("<2I", 14, 0) + bytes(1 << 25)] * 3), "a compressed part is incomplete"),
        (_packed(struct.pack("<2I", 14, 0) * 2000), "without"),
        (b"MATLAB 5.0".ljust(126) + b"IM" + struct.pack("<2I", 14, 0) * 2000, "more than 1000 variables"),
        (_packed(_matrix_of(2, *[2**31 - 1] * 33)), "more than 32 dimensions"),
        (_packed(struct.pack("<2I", 14, 1 << 31)), "an element ends outside"),
        (_packed(struct.pack("<14I", 14, 48, 6, 8, 1, 0, 5, 8, 2**31 - 1, 2**31 - 1, 1, 0, 0, 0)), "without"),
    ):
        if isinstance(value, bytes):
            path.write_bytes(value)
        else:
            scipy.io.savemat(path, {"motion_iou": value})
        with pytest.raises(InputError, match=f"motion.mat: .*{message}"):
            read_motion_cells(path)


def _matrix_of(kind: int, *sizes: int) -> bytes:
    """Make a matrix element of a MATLAB file, without a name or values."""
    body = struct.pack("<4I", 6, 8, kind, 0) + struct.pack(f"<2I{len(sizes)}i", 5, 4 * len(sizes), *sizes)
    body += bytes(-len(body) % 8) + struct.pack("<2I", 1, 0)
    return struct.pack("<2I", 14, len(body)) + body


def _packed(*contents: bytes) -> bytes:
    packed = [zlib.compress(content) for content in contents]
    elements = (struct.pack("<2I", 15, len(part)) + part for part in packed)
    return b"MATLAB 5.0".ljust(126) + b"IM" + b"".join(elements)


@pytest.mark.parametrize("compressed", [False, True])
def test_mutated_files_are_read_or_refused(tmp_path: Path, compressed: bool) -> None:
    path = write_mat(tmp_path / "motion.mat", [[0.5, 0.25], [], [0.75]], compressed=compressed)
    content, read = path.read_bytes(), 0
    for random in mutators(400):
        path.write_bytes(mutated_bytes(content, random))
        read += ends_well(lambda: read_motion_cells(path))
    assert 0 < read < 300


def test_the_published_motion_ious_exclude_the_frame_of_the_object() -> None:
    frames = read_motion_cells(require_shared(SHARED / "lists") / "vid_groundtruth_motion_iou.mat")
    values = np.concatenate(frames)
    # If an object never overlaps itself in other frames, its value is 1e-10 divided by their number.
    others = 1e-10 / values[values < 1e-6]
    assert others == pytest.approx(others.round(), abs=1e-6)
    assert (others.min(), others.max()) == pytest.approx((4, 20))


def test_the_published_file_has_the_published_shares_of_motion() -> None:
    frames = read_motion_cells(require_shared(SHARED / "lists") / "vid_groundtruth_motion_iou.mat")
    assert len(frames) == 176126
    empty = sum(len(values) == 0 for values in frames)
    assert empty == 4046
    values = np.concatenate([*frames, np.zeros(empty)])
    assert len(values) == 277551
    shares = [((values >= low) & (values <= high)).mean() for low, high in ((0, 0.7), (0.7, 0.9), (0.9, 1))]
    assert shares == pytest.approx([0.27236, 0.35387, 0.37378], abs=5e-6)
