"""Reading the tasks of CVAT exports, and refusing other files."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from megavid.core.errors import InputError
from megavid.datasets.formats.cvat.read_cvat import is_cvat, read_cvat
from megavid.datasets.table.problems import Problems
from tests.datasets.formats.cvat.cvat_xml import PROJECT, TASK, add_images, box, write


def test_a_job_may_start_at_any_frame(tmp_path: Path) -> None:
    table = read_cvat(write(tmp_path / "clip.xml", box(7, 0), size=3, start=6), problems=Problems())
    assert table.number.tolist() == [6, 7, 8]
    assert table.box_frames.tolist() == [1]


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
def test_invalid_task_descriptions_are_refused(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    path = write(tmp_path / "clip.xml", box(0, 0))
    path.write_text(path.read_text("utf-8").replace(*change), "utf-8")
    with pytest.raises(InputError, match=f"clip.xml: .*{message}"):
        read_cvat(path, problems=Problems())


def test_an_unknown_number_of_frames(tmp_path: Path) -> None:
    path = write(tmp_path / "clip.xml", box(2, 0) + box(4, 0) + box(10**9, 0, outside=1), size=0)
    assert read_cvat(path, problems=Problems()).number.tolist() == [0, 1, 2, 3, 4]
    write(path, box(2, 0) + box(10**9, 0), size=0)
    with pytest.raises(InputError, match="track 0: expected frames 0 to 999999, got 1000000000"):
        read_cvat(path, problems=Problems())


def test_classes_can_be_selected(tmp_path: Path) -> None:
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
def test_files_of_other_kinds_are_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "clip.xml"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_cvat(path, problems=Problems())
    assert is_cvat(path) == ("<annotations" in content)


def test_a_file_without_tracks(tmp_path: Path) -> None:
    path = tmp_path / "clip.xml"
    path.write_text("<annotations></annotations>")
    table = read_cvat(path, problems=Problems())
    assert (len(table), table.videos) == (0, ("clip",))


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


def test_tasks_with_one_source_are_named_by_file_and_task(tmp_path: Path) -> None:
    tasks = TASK.format(4, 4, 0, "one.mp4") + TASK.format(9, 9, 3, "one.mp4")
    path = tmp_path / "x.xml"
    path.write_text(PROJECT.format(tasks, ""))
    (tmp_path / "one.mp4").touch()
    table = read_cvat(path, problems=Problems())
    assert (table.videos, table.sources) == (("x_4", "x_9"), ("one.mp4", "one.mp4"))
    assert table.number.tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("task", ["", 'task_id="5"'])
def test_tracks_of_unknown_tasks_are_refused(tmp_path: Path, task: str) -> None:
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


def test_other_zips_are_refused(tmp_path: Path) -> None:
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


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    assert not is_cvat(tmp_path)
    with pytest.raises(InputError, match="expected a CVAT export in it, .xml or .zip"):
        read_cvat(tmp_path, problems=Problems())


def test_xml_that_expands_hugely_or_nests_deeply_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "clip.xml"
    entities = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10 if i else "x"}">' for i in range(10))
    path.write_text(f"<!DOCTYPE annotations [{entities}]><annotations>&a9;</annotations>")
    with pytest.raises(InputError, match="clip.xml: expected XML without a document type"):
        read_cvat(path, problems=Problems())
    path.write_text("<annotations><!--" + "<" * (1 << 21) + "--></annotations>")
    with pytest.raises(InputError, match="clip.xml: expected at most .* bytes of XML per element"):
        read_cvat(path, problems=Problems())
    with zipfile.ZipFile(path.with_suffix(".zip"), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("annotations.xml", "<annotations>" + "<a/>" * 610_000 + "</annotations>")
    with pytest.raises(InputError, match="and 600000 elements beside tracks"):
        read_cvat(path.with_suffix(".zip"), problems=Problems())
    path.write_text("<annotations>" + "<a>" * 100_000 + "</a>" * 100_000 + "</annotations>")
    with pytest.raises(InputError, match="clip.xml: expected at most 50 levels of nesting"):
        read_cvat(path, problems=Problems())
