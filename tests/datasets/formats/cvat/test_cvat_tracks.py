"""Reading the boxes of CVAT's tracks."""

from __future__ import annotations

from pathlib import Path

import pytest

from megavid.core.errors import InputError
from megavid.datasets.formats.cvat.read_cvat import read_cvat
from megavid.datasets.table.problems import Kind, Problems
from tests.datasets.formats.cvat.cvat_xml import box, write


def test_the_boxes_of_tracks_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "clip.xml", box(0, 0) + box(1, 2, keyframe=0, occluded=1), box(4, 5))
    table = read_cvat(path, problems=Problems())
    assert table.classes == ("cat", "Dächs")
    assert table.videos == ("clip",)
    assert table.number.tolist() == [0, 1, 2, 3, 4, 5]
    assert (set(table.width.tolist()), set(table.height.tolist())) == ({64}, {48})
    assert table.box_frames.tolist() == [0, 1, 4]
    assert table.boxes.tolist() == [[0, 1, 10, 21], [2, 1, 12, 21], [5, 1, 15, 21]]
    assert table.labels.tolist() == [1, 1, 0]
    assert table.tracks.tolist() == [0, 0, 1]
    assert table.generated.tolist() == [False, True, False]
    assert table.occluded.tolist() == [False, True, False]


def test_boxes_are_interpolated_until_the_object_is_outside(tmp_path: Path) -> None:
    path = write(tmp_path / "clip.xml", box(0, 0) + box(2, 4) + box(4, 9, outside=1) + box(5, 20))
    table = read_cvat(path, problems=Problems())
    assert table.box_frames.tolist() == [0, 1, 2, 3, 5]
    assert table.boxes[:, 0].tolist() == [0, 2, 4, 4, 20]
    assert table.generated.tolist() == [False, True, False, True, False]


@pytest.mark.parametrize(
    ("track", "kind", "message"),
    [
        (box(0, 0) + box(0, 3), Kind.DUPLICATE_BOX, "track 1: has two boxes in frame 0"),
        (box(0, 0) + box(0, 0, outside=1), Kind.DUPLICATE_BOX, "track 1: has two boxes in frame 0"),
        (box(0, 0).replace('xbr="10"', 'xbr="0"'), Kind.INVERTED, "track 1: frame 0: expected xtl"),
        (box(0, 0).replace('xbr="10"', ""), Kind.BAD_ROW, "track 1: expected a box with frame, xtl"),
        (box(0, 0).replace('frame="0"', ""), Kind.BAD_ROW, "track 1: expected a box with frame, xtl"),
        (box(0, 0).replace('"0"', f'"{"9" * 5000}"', 1), Kind.BAD_ROW, "track 1: expected a box with frame"),
        (box(0, 0).replace('xtl="0"', 'xtl="nan"'), Kind.BAD_ROW, "frame 0: expected numbers up to"),
        (box(0, 0).replace('xbr="10"', 'xbr="inf"'), Kind.BAD_ROW, "frame 0: expected numbers up to"),
        (box(0, 0).replace('xbr="10"', 'xbr="1e30"'), Kind.BAD_ROW, "frame 0: expected numbers up to"),
        (box(0, 0).replace("z_order", 'rotation="nan" z_order'), Kind.BAD_ROW, "frame 0: expected numbers"),
        ('<polygon frame="0" points=""/>', Kind.BAD_ROW, "track 1: expected boxes, got polygon"),
        (box(6, 0), Kind.BAD_ROW, "expected frames 0 to 5, got 6"),
        (box(10**18, 0), Kind.BAD_ROW, "expected frames 0 to 5, got 1000000000000000000"),
        (box(-1, 0), Kind.BAD_ROW, "expected frames 0 to 5, got -1"),
    ],
)
def test_bad_tracks_are_refused_or_skipped(tmp_path: Path, track: str, kind: Kind, message: str) -> None:
    path = write(tmp_path / "clip.xml", box(0, 7), track)
    with pytest.raises(InputError, match=message):
        read_cvat(path, problems=Problems())
    problems = Problems(skip=True)
    assert read_cvat(path, problems=problems).boxes.tolist() == [[7, 1, 17, 21]]
    assert problems.counts() == {kind: 1}


@pytest.mark.parametrize(
    "bad",
    [
        box(4, 3) + box(4, 9),
        box(4, 3) + box(4, 3, outside=1),
        box(4, 3).replace('xbr="13"', 'xbr="3"'),
        box(4, 3).replace('xtl="3"', 'xtl="nan"'),
        box(4, 3).replace('xtl="3"', ""),
    ],
)
def test_no_boxes_are_interpolated_next_to_a_bad_one(tmp_path: Path, bad: str) -> None:
    tracks = box(0, 0) + box(2, 2) + bad + box(6, 6) + box(8, 8)
    problems = Problems(skip=True)
    table = read_cvat(write(tmp_path / "clip.xml", tracks, size=9), problems=problems)
    assert table.box_frames.tolist() == [0, 1, 2, 6, 7, 8]
    assert table.boxes[:, 0].tolist() == [0, 1, 2, 6, 7, 8]
    assert len(problems.found) == 1


def test_a_track_with_a_box_without_a_frame_number_is_left_out(tmp_path: Path) -> None:
    track = box(0, 0) + box(2, 2).replace('frame="2"', "") + box(5, 5)
    path = write(tmp_path / "clip.xml", track)
    assert len(read_cvat(path, problems=Problems(skip=True)).boxes) == 0


def test_equal_boxes_of_one_frame_are_merged(tmp_path: Path) -> None:
    track = box(0, 0) + box(2, 2, keyframe=0) + box(2, 2) + box(2, 2, keyframe=0) + box(3, 3, outside=1) * 2
    table = read_cvat(write(tmp_path / "clip.xml", track), problems=Problems())
    assert table.box_frames.tolist() == [0, 1, 2]
    assert table.generated.tolist() == [False, True, False]


def test_exports_with_a_frame_step_are_read(tmp_path: Path) -> None:
    text = box(5, 5) + box(20, 20) + box(25, 20, outside=1)
    path = write(tmp_path / "clip.xml", text, size=6, start=5, step=5, stop=30)
    table = read_cvat(path, problems=Problems())
    assert table.number.tolist() == [5, 10, 15, 20, 25, 30]
    assert table.box_frames.tolist() == [0, 1, 2, 3]
    assert table.boxes[:, 0].tolist() == [5, 10, 15, 20]
    write(path, box(5, 5) + box(12, 1) + box(25, 25), size=6, start=5, step=5, stop=30)
    with pytest.raises(InputError, match="expected frames 5 to 30 in steps of 5, got 12"):
        read_cvat(path, problems=Problems())
    assert read_cvat(path, problems=Problems(skip=True)).boxes[:, 0].tolist() == [5, 25]


def test_tracks_with_too_many_boxes_to_interpolate_are_refused(tmp_path: Path) -> None:
    tracks = [box(0, 0) + box(600_000, 0)] * 2
    path = write(tmp_path / "clip.xml", *tracks, size=700_000)
    with pytest.raises(
        InputError, match="expected at most 1000000 boxes between those in the file, got 1199998"
    ):
        read_cvat(path, problems=Problems(skip=True))


@pytest.mark.parametrize("angle", [90, -90, 450])
def test_a_rotated_box_becomes_its_bounding_box(tmp_path: Path, angle: float) -> None:
    turned = '<box frame="{}" outside="0" occluded="0" keyframe="1" xtl="60" ytl="55" xbr="120" ybr="65" {}/>'
    path = write(tmp_path / "clip.xml", turned.format(0, f'rotation="{angle}"'))
    problems = Problems()
    assert read_cvat(path, problems=problems).boxes.tolist() == [[85, 30, 95, 90]]
    assert problems.notes[-1] == "video 'clip': 1 boxes are rotated: their bounding boxes are used"


def test_rotation_is_interpolated(tmp_path: Path) -> None:
    # A box of 40x20 pixels turns from 350 degrees in frame 0 to 10 in frame 2, so it is upright in frame 1.
    turned = '<box frame="{}" outside="0" occluded="0" keyframe="1" xtl="30" ytl="40" xbr="70" ybr="60" {}/>'
    track = turned.format(0, 'rotation="350"') + turned.format(2, 'rotation="10"')
    table = read_cvat(write(tmp_path / "clip.xml", track), problems=Problems())
    around = [28.57, 36.68, 71.43, 63.32]  # 50 +- (20 cos 10 + 10 sin 10), (20 sin 10 + 10 cos 10)
    assert table.boxes[0].tolist() == pytest.approx(around, abs=0.01)
    assert table.boxes[1].tolist() == pytest.approx([30, 40, 70, 60])
    assert table.boxes[2].tolist() == pytest.approx(around, abs=0.01)
