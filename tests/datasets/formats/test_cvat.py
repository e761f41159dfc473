"""CVAT for video."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from megavid.core.errors import InputError
from megavid.datasets.formats.cvat.read_cvat import is_cvat, read_cvat
from megavid.datasets.table.problems import Kind, Problems

HEAD = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><task><size>{size}</size><start_frame>{start}</start_frame>{more}
<original_size><width>64</width><height>48</height></original_size>
<labels><label><name>cat</name></label><label><name>Dächs</name></label></labels></task></meta>"""


def box(frame: int, x: float, *, outside: int = 0, keyframe: int = 1, occluded: int = 0) -> str:
    return (
        f'<box frame="{frame}" outside="{outside}" occluded="{occluded}" keyframe="{keyframe}" '
        f'xtl="{x}" ytl="1" xbr="{x + 10}" ybr="21" z_order="0"></box>'
    )


def add_images(folder: Path, numbers: Iterable[int]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        (folder / f"frame_{number:06d}.png").touch()


def write(
    path: Path, *tracks: str, size: int = 6, start: int = 0, step: int = 1, stop: int = 0, source: str = ""
) -> Path:
    rows = "".join(
        f'<track id="{i}" label="{"cat" if i else "Dächs"}">{t}</track>' for i, t in enumerate(tracks)
    )
    more = f"<stop_frame>{stop}</stop_frame>" if stop else ""
    more += f"<frame_filter>{f'step={step}' if step > 1 else ''}</frame_filter><source>{source}</source>"
    path.write_text(HEAD.format(size=size, start=start, more=more) + rows + "</annotations>", "utf-8")
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
    write(tmp_path / "a.xml", box(2, 0) + box(9, 1, outside=1) + box(10, 1), size=9, start=2)
    (tmp_path / "b.mp4").touch()
    (tmp_path / "a").mkdir()
    for number in (2, 10):
        (tmp_path / "a" / f"{number}.png").touch()
    table = read_cvat(tmp_path, problems=Problems())
    assert (table.videos, table.sources) == (("a", "b"), ("", "b.mp4"))
    assert table.files.to_pylist() == ["a/2.png", "a/10.png", None]
    assert table.number.tolist() == [2, 10, 0]
    assert table.boxes[:, 0].tolist() == [0, 1, 0]


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
def test_bad_tracks(tmp_path: Path, track: str, kind: Kind, message: str) -> None:
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
def test_no_boxes_are_made_up_beside_a_bad_one(tmp_path: Path, bad: str) -> None:
    tracks = box(0, 0) + box(2, 2) + bad + box(6, 6) + box(8, 8)
    problems = Problems(skip=True)
    table = read_cvat(write(tmp_path / "clip.xml", tracks, size=9), problems=problems)
    assert table.box_frames.tolist() == [0, 1, 2, 6, 7, 8]
    assert table.boxes[:, 0].tolist() == [0, 1, 2, 6, 7, 8]
    assert len(problems.found) == 1


def test_a_track_with_a_box_of_unknown_frame_is_left_out(tmp_path: Path) -> None:
    track = box(0, 0) + box(2, 2).replace('frame="2"', "") + box(5, 5)
    path = write(tmp_path / "clip.xml", track)
    assert len(read_cvat(path, problems=Problems(skip=True)).boxes) == 0


def test_boxes_that_stand_twice_the_same_are_one(tmp_path: Path) -> None:
    track = box(0, 0) + box(2, 2, keyframe=0) + box(2, 2) + box(2, 2, keyframe=0) + box(3, 3, outside=1) * 2
    table = read_cvat(write(tmp_path / "clip.xml", track), problems=Problems())
    assert table.box_frames.tolist() == [0, 1, 2]
    assert table.generated.tolist() == [False, True, False]


def test_a_frame_step(tmp_path: Path) -> None:
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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("<size>6", "<size>1000001"), "size: expected a number from 0 to 1000000, got 1000001"),
        (("<size>6", "<size>-6"), "size: expected a number from 0 to 1000000, got -6"),
        (("<width>64", "<width>10000000"), "original_size/width: expected a number from 0 to 1000000"),
        (("<width>64", "<width>x"), "expected whole numbers in meta"),
        (("<start_frame>0", f"<start_frame>{10**19}"), "start_frame: expected a number from 0 to"),
        (("<start_frame>0", "<stop_frame>9</stop_frame><start_frame>0"), "that agree, got 0, 9, none and 6"),
        (
            ("<start_frame>0", "<frame_filter>all</frame_filter><start_frame>0"),
            "expected step=NUMBER, got 'all'",
        ),
    ],
)
def test_descriptions_that_make_no_sense(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    path = write(tmp_path / "clip.xml", box(0, 0))
    path.write_text(path.read_text("utf-8").replace(*change), "utf-8")
    with pytest.raises(InputError, match=f"clip.xml: .*{message}"):
        read_cvat(path, problems=Problems())


def test_a_size_that_is_not_said(tmp_path: Path) -> None:
    path = write(tmp_path / "clip.xml", box(2, 0) + box(4, 0) + box(10**9, 0, outside=1), size=0)
    assert read_cvat(path, problems=Problems()).number.tolist() == [0, 1, 2, 3, 4]
    write(path, box(2, 0) + box(10**9, 0), size=0)
    with pytest.raises(InputError, match="track 0: expected frames 0 to 999999, got 1000000000"):
        read_cvat(path, problems=Problems())


def test_gaps_that_are_too_long_to_fill(tmp_path: Path) -> None:
    tracks = [box(0, 0) + box(600_000, 0)] * 2
    path = write(tmp_path / "clip.xml", *tracks, size=700_000)
    with pytest.raises(
        InputError, match="expected at most 1000000 boxes between those in the file, got 1199998"
    ):
        read_cvat(path, problems=Problems(skip=True))


@pytest.mark.parametrize("angle", [90, -90, 450])
def test_a_turned_box(tmp_path: Path, angle: float) -> None:
    turned = '<box frame="{}" outside="0" occluded="0" keyframe="1" xtl="60" ytl="55" xbr="120" ybr="65" {}/>'
    path = write(tmp_path / "clip.xml", turned.format(0, f'rotation="{angle}"'))
    problems = Problems()
    assert read_cvat(path, problems=problems).boxes.tolist() == [[85, 30, 95, 90]]
    assert problems.notes[-1] == "video 'clip': 1 boxes are turned: the boxes around them are taken"


def test_a_box_that_turns(tmp_path: Path) -> None:
    # 40x20 around (50, 50), from 350 to 10 degrees: not turned in between.
    turned = '<box frame="{}" outside="0" occluded="0" keyframe="1" xtl="30" ytl="40" xbr="70" ybr="60" {}/>'
    track = turned.format(0, 'rotation="350"') + turned.format(2, 'rotation="10"')
    table = read_cvat(write(tmp_path / "clip.xml", track), problems=Problems())
    around = [28.57, 36.68, 71.43, 63.32]  # 20 cos 10 + 10 sin 10 = 21.43; 20 sin 10 + 10 cos 10 = 13.32
    assert table.boxes[0].tolist() == pytest.approx(around, abs=0.01)
    assert table.boxes[1].tolist() == pytest.approx([30, 40, 70, 60])
    assert table.boxes[2].tolist() == pytest.approx(around, abs=0.01)


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


@pytest.mark.parametrize(
    ("frames", "images"),
    [(range(10, 15), range(10, 15)), (range(10, 15), range(10, 40)), (range(5), range(1, 6))],
)
def test_images_by_their_numbers(tmp_path: Path, frames: range, images: range) -> None:
    track = "".join(box(frame, frame) for frame in frames)
    path = write(tmp_path / "annotations.xml", track, size=5, start=frames[0])
    add_images(tmp_path / "images", images)
    problems = Problems()
    table = read_cvat(path, problems=problems)
    assert table.number.tolist() == list(frames)
    assert table.files.to_pylist() == [f"images/frame_{number:06d}.png" for number in images[:5]]
    assert ("by the numbers" if frames[0] else "in order: as many") in problems.notes[0]


def test_deleted_frames(tmp_path: Path) -> None:
    path = write(tmp_path / "a.xml", box(0, 0) + box(3, 3) + box(4, 4), size=6)
    add_images(tmp_path / "a", (0, 1, 3, 5))
    problems = Problems()
    table = read_cvat(path, problems=problems)
    assert table.number.tolist() == [0, 1, 3, 4, 5]
    assert table.files.is_null().to_pylist() == [False, False, False, True, False]
    assert table.boxes[:, 0].tolist() == [0, 1, 3, 4]
    assert problems.notes[-1] == "video 'a': 1 frames without image and boxes are left out"


def test_images_that_are_other_frames_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.xml", box(0, 0), size=6)
    add_images(tmp_path / "a", range(1, 6))
    with pytest.raises(InputError, match="a.xml: cannot tell which image is which frame: images 1 to 5 "):
        read_cvat(path, problems=Problems())


PROJECT = """<annotations><version>1.1</version><meta><project><id>1</id><name>p</name>
<labels><label><name>cat</name></label></labels><tasks>{}</tasks></project></meta>{}</annotations>"""
TASK = """<task><id>{}</id><name>task {}</name><size>3</size><start_frame>{}</start_frame><source>{}</source>
<original_size><width>64</width><height>48</height></original_size></task>"""


def test_a_project_of_several_tasks(tmp_path: Path) -> None:
    tasks = TASK.format(4, 4, 0, "share/one.mp4") + TASK.format(9, 9, 5, "two.mp4")
    tracks = f'<track id="0" label="cat" task_id="9">{box(5, 5) + box(7, 7)}</track>'
    tracks += f'<track id="1" label="cat" task_id="4">{box(0, 1)}</track>'
    path = tmp_path / "annotations.xml"
    path.write_text(PROJECT.format(tasks, tracks))
    (tmp_path / "one.mp4").touch()
    add_images(tmp_path / "images" / "two", (5, 6, 7))
    add_images(tmp_path / "images", (0, 1, 2))
    table = read_cvat(path, problems=Problems())
    assert (table.videos, table.sources) == (("one", "two"), ("one.mp4", ""))
    assert table.number.tolist() == [0, 1, 2, 5, 6, 7]
    assert table.files.to_pylist()[3:] == [f"images/two/frame_00000{i}.png" for i in (5, 6, 7)]
    assert table.boxes[:, 0].tolist() == [1, 5, 6, 7]
    assert table.box_frames.tolist() == [0, 3, 4, 5]
    assert set(table.width.tolist()) == {64}


def test_tasks_of_one_source(tmp_path: Path) -> None:
    tasks = TASK.format(4, 4, 0, "one.mp4") + TASK.format(9, 9, 3, "one.mp4")
    path = tmp_path / "x.xml"
    path.write_text(PROJECT.format(tasks, ""))
    (tmp_path / "one.mp4").touch()
    table = read_cvat(path, problems=Problems())
    assert (table.videos, table.sources) == (("x_4", "x_9"), ("one.mp4", "one.mp4"))
    assert table.number.tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("task", ["", 'task_id="5"'])
def test_tracks_of_no_task(tmp_path: Path, task: str) -> None:
    tasks = TASK.format(4, 4, 0, "one.mp4") + TASK.format(9, 9, 0, "two.mp4")
    path = tmp_path / "x.xml"
    path.write_text(PROJECT.format(tasks, f'<track id="0" label="cat" {task}>{box(0, 0)}</track>'))
    with pytest.raises(InputError, match="x.xml, track 0: expected task_id to be one of 4, 9, got"):
        read_cvat(path, problems=Problems())
    assert len(read_cvat(path, problems=Problems(skip=True)).boxes) == 0
    path.write_text(PROJECT.format(tasks.replace("<id>9", "<id>4"), ""))
    with pytest.raises(InputError, match="x.xml: expected tasks with ids that differ, got 4, 4"):
        read_cvat(path, problems=Problems())


def test_a_project_of_one_task(tmp_path: Path) -> None:
    path = tmp_path / "clip.xml"
    track = f'<track id="0" label="cat" task_id="4">{box(5, 5)}</track>'
    path.write_text(PROJECT.format(TASK.format(4, 4, 5, "other.mp4"), track))
    table = read_cvat(path, problems=Problems())
    assert (table.videos, table.number.tolist()) == (("clip",), [5, 6, 7])
    assert (set(table.width.tolist()), set(table.height.tolist())) == ({64}, {48})


@pytest.mark.parametrize(
    ("name", "source", "there", "found"),
    [
        ("annotations.xml", "clip.mp4", ["clip.mp4", "other.mp4"], "clip.mp4"),
        ("annotations.xml", r"C:\videos\clip.mp4", ["clip.mp4"], "clip.mp4"),
        ("annotations.xml", "/share/clip.MOV", ["clip.ts"], "clip.ts"),
        ("annotations.xml", "clip.mp4", ["clip.mp4", "clip.ts"], "clip.mp4"),
        ("annotations.xml", "", ["any.gif"], "any.gif"),
        ("clip.xml", "other.mp4", ["clip.ts", "other.mp4"], "clip.ts"),
        ("pond.xml", "clip.mp4", ["clip.mp4"], "clip.mp4"),
        ("annotations.xml", "clip.mp4", ["other.mp4"], ""),  # of another name than CVAT says
        ("pond.xml", "", ["other.mp4"], ""),
    ],
)
def test_the_video_of_a_file(tmp_path: Path, name: str, source: str, there: list[str], found: str) -> None:
    path = write(tmp_path / name, box(0, 0), source=source)
    for file in there:
        (tmp_path / file).touch()
    problems = Problems()
    table = read_cvat(path, problems=problems)
    assert table.sources == (found,)
    if not found:
        wanted = "expected a video or a folder of images called " + ("clip" if source else "pond")
        assert wanted in problems.warnings[0]
        assert problems.warnings[0].endswith(f"which has {', '.join(sorted((name, *there)))}")


def test_two_videos_of_a_name(tmp_path: Path) -> None:
    path = write(tmp_path / "clip.xml", box(0, 0))
    (tmp_path / "clip.mp4").touch()
    (tmp_path / "clip.ts").touch()
    with pytest.raises(InputError, match="expected one video called clip, got clip.mp4, clip.ts"):
        read_cvat(path, problems=Problems())


def test_exports_unpacked_with_their_images_each_in_a_folder(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / name / "images").mkdir(parents=True)
        write(tmp_path / name / "annotations.xml", box(0, 0), source="video.mp4", size=1)
        (tmp_path / name / "images" / "frame_000000.PNG").touch()
    table = read_cvat(tmp_path, problems=Problems())
    assert table.files.to_pylist() == ["a/images/frame_000000.PNG", "b/images/frame_000000.PNG"]


def test_files_of_the_same_name_in_folders(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "annotations.xml", box(0, 0), source="video.mp4", size=1)
        (tmp_path / name / "video.mp4").touch()
    (tmp_path / "notes.xml").write_text("<notes/>")
    assert is_cvat(tmp_path)
    table = read_cvat(tmp_path, problems=Problems())
    assert (table.videos, table.sources) == (("a", "b"), ("a/video.mp4", "b/video.mp4"))


def test_a_zip_as_downloaded(tmp_path: Path) -> None:
    write(tmp_path / "x.xml", box(0, 3), source="clip.mp4", size=1)
    path = tmp_path / "task_1_annotations.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "x.xml", "annotations.xml")
        archive.writestr("images/frame_000000.PNG", b"")
    (tmp_path / "x.xml").unlink()
    assert is_cvat(path)
    assert is_cvat(tmp_path)
    problems = Problems()
    table = read_cvat(tmp_path, problems=problems)
    assert (table.videos, table.sources) == (("clip",), ("",))
    assert table.boxes.tolist() == [[3, 1, 13, 21]]
    assert problems.warnings[0].endswith("there are images in the zip: unzip it")
    (tmp_path / "clip.mp4").touch()
    assert read_cvat(path, problems=Problems()).sources == ("clip.mp4",)


def zipped(path: Path, xml: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(xml, "annotations.xml")


def test_zips_beside_files(tmp_path: Path) -> None:
    for number, name in enumerate(("pond", "river", "sea")):
        write(tmp_path / f"{name}.xml", box(0, number), source=f"{name}.mp4", size=1)
        (tmp_path / f"{name}.mp4").touch()
    zipped(tmp_path / "task_2.zip", tmp_path / "river.xml")
    (tmp_path / "river.xml").unlink()
    zipped(tmp_path / "task_3.zip", tmp_path / "sea.xml")  # unpacked: the same task
    table = read_cvat(tmp_path, problems=Problems())
    assert table.videos == ("pond", "sea", "river")
    assert table.boxes[:, 0].tolist() == [0, 2, 1]


def test_two_exports_of_a_task(tmp_path: Path) -> None:
    for day, x in (("monday", 0), ("friday", 9)):
        task = TASK.format(4, 4, 0, "one.mp4")
        track = f'<track id="0" label="cat">{box(0, x)}</track>'
        (tmp_path / f"{day}.xml").write_text(PROJECT.format(task, track))
    (tmp_path / "one.mp4").touch()
    with pytest.raises(InputError, match=r"friday.xml and .*monday.xml: expected one export of each task"):
        read_cvat(tmp_path, problems=Problems())
    # Another server's task of this number is another video.
    text = (tmp_path / "friday.xml").read_text()
    (tmp_path / "friday.xml").write_text(text.replace("one.mp4", "two.mp4"))
    assert read_cvat(tmp_path, problems=Problems()).videos == ("friday", "monday")


def test_zips_that_are_others(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("other.xml", "<annotations/>")
    assert not is_cvat(path)
    with pytest.raises(InputError, match="x.zip: expected annotations.xml in it"):
        read_cvat(path, problems=Problems())
    path.write_bytes(path.read_bytes()[:40])
    assert not is_cvat(path)
    with pytest.raises(InputError, match="x.zip: cannot be read"):
        read_cvat(path, problems=Problems())


def test_an_empty_folder(tmp_path: Path) -> None:
    assert not is_cvat(tmp_path)
    with pytest.raises(InputError, match="expected a file of CVAT's in it, .xml or .zip"):
        read_cvat(tmp_path, problems=Problems())


def test_xml_that_would_fill_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "clip.xml"
    entities = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10 if i else "x"}">' for i in range(10))
    path.write_text(f"<!DOCTYPE annotations [{entities}]><annotations>&a9;</annotations>")
    with pytest.raises(InputError, match="clip.xml: expected XML without a document type"):
        read_cvat(path, problems=Problems())
    path.write_text("<annotations><!--" + "<" * (1 << 21) + "--></annotations>")
    with pytest.raises(InputError, match="clip.xml: expected at most .* bytes of XML, with elements all"):
        read_cvat(path, problems=Problems())
    with zipfile.ZipFile(path.with_suffix(".zip"), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("annotations.xml", "<annotations>" + "<a/>" * 610_000 + "</annotations>")
    with pytest.raises(InputError, match="and 600000 elements beside tracks"):
        read_cvat(path.with_suffix(".zip"), problems=Problems())
    path.write_text("<annotations>" + "<a>" * 100_000 + "</a>" * 100_000 + "</annotations>")
    with pytest.raises(InputError, match="clip.xml: expected at most 50 levels of nesting"):
        read_cvat(path, problems=Problems())
