"""CVAT for video."""

from __future__ import annotations

from pathlib import Path

import pytest

from megavid.core.errors import InputError
from megavid.core.problems import Kind, Problems
from megavid.data.cvat import is_cvat, read_cvat

HEAD = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><task><size>{size}</size><start_frame>{start}</start_frame>
<original_size><width>64</width><height>48</height></original_size>
<labels><label><name>cat</name></label><label><name>Dächs</name></label></labels></task></meta>"""


def box(frame: int, x: float, *, outside: int = 0, keyframe: int = 1, occluded: int = 0) -> str:
    return (
        f'<box frame="{frame}" outside="{outside}" occluded="{occluded}" keyframe="{keyframe}" '
        f'xtl="{x}" ytl="1" xbr="{x + 10}" ybr="21" z_order="0"></box>'
    )


def write(path: Path, *tracks: str, size: int = 6, start: int = 0) -> Path:
    rows = "".join(
        f'<track id="{i}" label="{"cat" if i else "Dächs"}">{t}</track>' for i, t in enumerate(tracks)
    )
    path.write_text(HEAD.format(size=size, start=start) + rows + "</annotations>", "utf-8")
    return path


def test_tracks(tmp_path: Path) -> None:
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


def test_frames_between_are_filled_until_the_object_is_gone(tmp_path: Path) -> None:
    path = write(tmp_path / "clip.xml", box(0, 0) + box(2, 4) + box(4, 9, outside=1) + box(5, 20))
    table = read_cvat(path, problems=Problems())
    assert table.box_frames.tolist() == [0, 1, 2, 3, 5]
    assert table.boxes[:, 0].tolist() == [0, 2, 4, 4, 20]
    assert table.generated.tolist() == [False, True, False, True, False]


def test_a_job_that_starts_in_the_middle(tmp_path: Path) -> None:
    table = read_cvat(write(tmp_path / "clip.xml", box(7, 0), size=3, start=6), problems=Problems())
    assert table.number.tolist() == [6, 7, 8]
    assert table.box_frames.tolist() == [1]


def test_a_folder_of_files_with_videos_and_images(tmp_path: Path) -> None:
    write(tmp_path / "b.xml", box(0, 0), size=1)
    write(tmp_path / "a.xml", size=3)
    (tmp_path / "b.mp4").touch()
    (tmp_path / "a").mkdir()
    for number in (2, 10):
        (tmp_path / "a" / f"{number}.png").touch()
    table = read_cvat(tmp_path, problems=Problems())
    assert (table.videos, table.sources) == (("a", "b"), ("", "b.mp4"))
    assert table.files.to_pylist() == ["a/2.png", "a/10.png", None, None]


@pytest.mark.parametrize(
    ("track", "kind", "message"),
    [
        (box(0, 0) + box(0, 3), Kind.DUPLICATE_BOX, "track 1: has two boxes in frame 0"),
        (
            box(0, 0).replace('xbr="10"', 'xbr="0"') + box(1, 0),
            Kind.INVERTED,
            "track 1: frame 0: expected xtl",
        ),
        (
            box(0, 0).replace('xbr="10.0"', "").replace('xbr="10"', "") + box(1, 0),
            Kind.BAD_ROW,
            "track 1: expected a box",
        ),
        ('<polygon frame="0" points=""/>' + box(1, 0), Kind.BAD_ROW, "track 1: expected boxes, got polygon"),
        (box(1, 0) + box(6, 0, outside=0), Kind.BAD_ROW, "expected frames 0 to 5, got 6"),
    ],
)
def test_bad_tracks(tmp_path: Path, track: str, kind: Kind, message: str) -> None:
    path = write(tmp_path / "clip.xml", "", track)
    with pytest.raises(InputError, match=message):
        read_cvat(path, problems=Problems())
    problems = Problems(skip=True)
    assert len(read_cvat(path, problems=problems).boxes) >= 1
    assert problems.counts() == {kind: 1}


def test_chosen_classes(tmp_path: Path) -> None:
    path = write(tmp_path / "clip.xml", box(0, 0), box(0, 0))
    table = read_cvat(path, classes=["Dächs", "cat"], problems=Problems())
    assert table.labels.tolist() == [0, 1]
    with pytest.raises(InputError, match="clip.xml, track 0: expected one of cat, got 'Dächs'"):
        read_cvat(path, classes=["cat"], problems=Problems())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("<annotations>", "clip.xml: expected XML"),
        ("<x/>", 'clip.xml: expected the export "CVAT for video 1.1"'),
        ('<annotations><image id="0"/></annotations>', 'clip.xml: expected the export "CVAT for video 1.1"'),
    ],
)
def test_other_files(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "clip.xml"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_cvat(path, problems=Problems())
    assert is_cvat(path) == ("<annotations" in content)


def test_no_tracks_at_all(tmp_path: Path) -> None:
    path = tmp_path / "clip.xml"
    path.write_text("<annotations></annotations>")
    table = read_cvat(path, problems=Problems())
    assert (len(table), table.videos) == (0, ("clip",))


def test_numbers_that_are_none(tmp_path: Path) -> None:
    path = write(tmp_path / "clip.xml", box(0, 0))
    path.write_text(path.read_text().replace("<width>64", "<width>x"))
    with pytest.raises(InputError, match=r"clip.xml: expected whole numbers in meta"):
        read_cvat(path, problems=Problems())
