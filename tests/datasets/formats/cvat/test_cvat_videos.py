"""Finding the videos and images of CVAT exports, and reading zipped exports."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from megavid.core.errors import InputError
from megavid.datasets.formats.cvat.read_cvat import is_cvat, read_cvat
from megavid.datasets.table.problems import Problems
from tests.datasets.formats.cvat.cvat_xml import PROJECT, TASK, add_images, box, write, zipped


def test_a_folder_of_exports_beside_a_video_and_a_folder_of_images(tmp_path: Path) -> None:
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
    ("frames", "images"),
    [(range(10, 15), range(10, 15)), (range(10, 15), range(10, 40)), (range(5), range(1, 6))],
)
def test_images_are_matched_to_frames(tmp_path: Path, frames: range, images: range) -> None:
    track = "".join(box(frame, frame) for frame in frames)
    path = write(tmp_path / "annotations.xml", track, size=5, start=frames[0])
    add_images(tmp_path / "images", images)
    problems = Problems()
    table = read_cvat(path, problems=problems)
    assert table.number.tolist() == list(frames)
    assert table.files.to_pylist() == [f"images/frame_{number:06d}.png" for number in images[:5]]
    assert ("by the numbers" if frames[0] else "in order: as many") in problems.notes[0]


def test_frames_without_an_image_and_boxes_are_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "a.xml", box(0, 0) + box(3, 3) + box(4, 4), size=6)
    add_images(tmp_path / "a", (0, 1, 3, 5))
    problems = Problems()
    table = read_cvat(path, problems=problems)
    assert table.number.tolist() == [0, 1, 3, 4, 5]
    assert table.files.is_null().to_pylist() == [False, False, False, True, False]
    assert table.boxes[:, 0].tolist() == [0, 1, 3, 4]
    assert problems.notes[-1] == "video 'a': 1 frames without image and boxes are left out"


def test_images_that_cannot_be_matched_to_frames_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.xml", box(0, 0), size=6)
    add_images(tmp_path / "a", range(1, 6))
    with pytest.raises(InputError, match="a.xml: cannot tell which image is which frame: images 1 to 5 "):
        read_cvat(path, problems=Problems())


@pytest.mark.parametrize(
    ("name", "source", "files", "found"),
    [
        ("annotations.xml", "clip.mp4", ["clip.mp4", "other.mp4"], "clip.mp4"),
        ("annotations.xml", r"C:\videos\clip.mp4", ["clip.mp4"], "clip.mp4"),
        ("annotations.xml", "/share/clip.MOV", ["clip.ts"], "clip.ts"),
        ("annotations.xml", "clip.mp4", ["clip.mp4", "clip.ts"], "clip.mp4"),
        ("annotations.xml", "", ["any.gif"], "any.gif"),
        ("clip.xml", "other.mp4", ["clip.ts", "other.mp4"], "clip.ts"),
        ("pond.xml", "clip.mp4", ["clip.mp4"], "clip.mp4"),
        ("annotations.xml", "clip.mp4", ["other.mp4"], ""),  # not the source that CVAT names
        ("pond.xml", "", ["other.mp4"], ""),
    ],
)
def test_the_video_file_is_found_by_name(
    tmp_path: Path, name: str, source: str, files: list[str], found: str
) -> None:
    path = write(tmp_path / name, box(0, 0), source=source)
    for file in files:
        (tmp_path / file).touch()
    problems = Problems()
    table = read_cvat(path, problems=problems)
    assert table.sources == (found,)
    if not found:
        wanted = "expected a video or a folder of images called " + ("clip" if source else "pond")
        assert wanted in problems.warnings[0]
        assert problems.warnings[0].endswith(f"which has {', '.join(sorted((name, *files)))}")


def test_two_video_files_with_the_name_of_the_export_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "clip.xml", box(0, 0))
    (tmp_path / "clip.mp4").touch()
    (tmp_path / "clip.ts").touch()
    with pytest.raises(InputError, match="expected one video called clip, got clip.mp4, clip.ts"):
        read_cvat(path, problems=Problems())


def test_several_unpacked_exports_with_images_are_read(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / name / "images").mkdir(parents=True)
        write(tmp_path / name / "annotations.xml", box(0, 0), source="video.mp4", size=1)
        (tmp_path / name / "images" / "frame_000000.PNG").touch()
    table = read_cvat(tmp_path, problems=Problems())
    assert table.files.to_pylist() == ["a/images/frame_000000.PNG", "b/images/frame_000000.PNG"]


def test_several_unpacked_exports_with_videos_are_read(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "annotations.xml", box(0, 0), source="video.mp4", size=1)
        (tmp_path / name / "video.mp4").touch()
    (tmp_path / "notes.xml").write_text("<notes/>")
    assert is_cvat(tmp_path)
    table = read_cvat(tmp_path, problems=Problems())
    assert (table.videos, table.sources) == (("a", "b"), ("a/video.mp4", "b/video.mp4"))


def test_a_zip_is_read_without_unpacking_it(tmp_path: Path) -> None:
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


def test_unpacked_zips_are_not_read_twice(tmp_path: Path) -> None:
    for number, name in enumerate(("pond", "river", "sea")):
        write(tmp_path / f"{name}.xml", box(0, number), source=f"{name}.mp4", size=1)
        (tmp_path / f"{name}.mp4").touch()
    zipped(tmp_path / "task_2.zip", tmp_path / "river.xml")
    (tmp_path / "river.xml").unlink()
    zipped(tmp_path / "task_3.zip", tmp_path / "sea.xml")  # the zip that sea.xml was unpacked from
    table = read_cvat(tmp_path, problems=Problems())
    assert table.videos == ("pond", "sea", "river")
    assert table.boxes[:, 0].tolist() == [0, 2, 1]


def test_two_exports_of_one_task_are_refused(tmp_path: Path) -> None:
    for day, x in (("monday", 0), ("friday", 9)):
        task = TASK.format(4, 4, 0, "one.mp4")
        track = f'<track id="0" label="cat">{box(0, x)}</track>'
        (tmp_path / f"{day}.xml").write_text(PROJECT.format(task, track))
    (tmp_path / "one.mp4").touch()
    with pytest.raises(InputError, match=r"friday.xml and .*monday.xml: expected one export of each task"):
        read_cvat(tmp_path, problems=Problems())
    # If the sources differ, these are tasks of two CVAT servers that happen to have equal numbers.
    text = (tmp_path / "friday.xml").read_text()
    (tmp_path / "friday.xml").write_text(text.replace("one.mp4", "two.mp4"))
    assert read_cvat(tmp_path, problems=Problems()).videos == ("friday", "monday")
