"""Reading an ILSVRC data set in parts and in several processes."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from megavid.core.errors import InputError
from megavid.datasets.formats.ilsvrc import read_ilsvrc as module
from megavid.datasets.formats.ilsvrc.read_ilsvrc import read_ilsvrc
from megavid.datasets.table.annotations import Annotations
from megavid.datasets.table.problems import Kind, Problems
from tests.datasets.formats.ilsvrc.ilsvrc_set import write_frame, write_ilsvrc, xml
from tests.datasets.table.test_annotations import assert_same
from tests.mutations import ends_well, mutated_bytes, mutated_json, mutators


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each part have only a few files."""
    monkeypatch.setattr(module, "_FILES_PER_PART", 6)


@pytest.mark.usefixtures("small_parts")
def test_parts_and_processes_do_not_change_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_ilsvrc(tmp_path, val_videos=7, frames=4)
    seen: list[tuple[int, int]] = []
    one = read_ilsvrc(
        tmp_path,
        "vid_val",
        problems=Problems(),
        workers=1,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [
        (8, 28),
        (16, 28),
        (24, 28),
        (28, 28),
    ]  # each part has two whole videos of 4 frames, except the last
    assert len(one) == 28
    assert one.videos == tuple(f"val/ILSVRC2015_val_{v:08d}" for v in range(7))
    two = read_ilsvrc(tmp_path, "vid_val", problems=Problems(), workers=2, parts=tmp_path / "parts")
    assert_same(one, two)
    monkeypatch.setattr(module, "_FILES_PER_PART", 1000)
    assert_same(one, read_ilsvrc(tmp_path, "vid_val", problems=Problems(), parts=tmp_path / "parts"))
    assert one.image_ids.tolist() == list(range(1, 29))


@pytest.mark.usefixtures("small_parts")
def test_finished_parts_are_not_read_again(tmp_path: Path) -> None:
    write_ilsvrc(tmp_path, val_videos=4, frames=4)
    parts = tmp_path / "parts"
    bad = "val/ILSVRC2015_val_00000002/000001"
    write_frame(tmp_path, "VID", bad, "<annotation>")
    with pytest.raises(InputError, match="00000002/000001.xml: expected an annotation in XML"):
        read_ilsvrc(tmp_path, "vid_val", problems=Problems(), workers=1, parts=parts)
    assert len(list(parts.glob("*.parquet"))) == 1
    # Now a file of the first part is broken, too. That part was saved, so the file is not read again.
    problems = Problems(skip=True)
    (tmp_path / "Annotations" / "VID" / "val" / "ILSVRC2015_val_00000000" / "000000.xml").write_text("no")
    table = read_ilsvrc(tmp_path, "vid_val", problems=problems, workers=1, parts=parts)
    assert problems.counts() == {Kind.UNREADABLE: 1}
    assert len(table) == 15
    # The parts were saved without a list of videos, so with a list they are invalid.
    (tmp_path / "ImageSets").mkdir()
    (tmp_path / "ImageSets" / "VID_val_videos.txt").write_text("val/ILSVRC2015_val_00000000 1 0 4\n")
    with pytest.raises(InputError, match="00000000/000000.xml: expected an annotation"):
        read_ilsvrc(tmp_path, "vid_val", problems=Problems(), workers=1, parts=parts)
    assert list(parts.glob("*.parquet")) == []


@pytest.mark.usefixtures("small_parts")
def test_the_problem_of_the_first_video_is_raised(tmp_path: Path) -> None:
    write_ilsvrc(tmp_path, val_videos=6, frames=4)
    for video in (5, 3, 1):
        write_frame(tmp_path, "VID", f"val/ILSVRC2015_val_{video:08d}/000002", "<x")
    with pytest.raises(InputError, match="00000001/000002.xml: expected an annotation"):
        read_ilsvrc(tmp_path, "vid_val", problems=Problems(), workers=2)
    problems = Problems(skip=True)
    read_ilsvrc(tmp_path, "vid_val", problems=problems, workers=2)
    assert [problem.where[-19:] for problem in problems.found] == [
        f"0000000{v}/000002.xml" for v in (1, 3, 5)
    ]


@pytest.mark.usefixtures("small_parts")
def test_broken_plans_and_parts_of_other_data_are_refused(tmp_path: Path) -> None:
    parts = tmp_path / "parts"

    def read(name: str) -> Annotations:
        return read_ilsvrc(tmp_path / name, "vid_val", problems=Problems(), workers=1, parts=parts)

    for name in ("one", "two"):
        write_ilsvrc(tmp_path / name, val_videos=4, frames=4)
    read("one")
    part = (parts / "000000.parquet").read_bytes()
    read("two")
    (parts / "000000.parquet").write_bytes(part)
    with pytest.raises(InputError, match=r"000000.parquet: expected a part of .*two; remove .*parts to"):
        read("two")
    (parts / "000000.parquet").write_bytes((parts / "000001.parquet").read_bytes())
    with pytest.raises(InputError, match=r"000000.parquet: expected a part of .*two"):
        read("two")
    (parts / "plan.json").write_text('{"index": "2"}')
    with pytest.raises(InputError, match=r"plan.json: index: .*, got '2'; .*; remove .*parts to begin"):
        read("two")


@pytest.mark.usefixtures("small_parts")
def test_mutated_plans_and_parts_are_read_or_refused(tmp_path: Path) -> None:
    write_ilsvrc(tmp_path, val_videos=4, frames=4)
    parts = tmp_path / "parts"
    read = partial(read_ilsvrc, tmp_path, "vid_val", problems=Problems(), workers=1, parts=parts)
    expected = read()
    plan, part = (parts / "plan.json").read_bytes(), (parts / "000000.parquet").read_bytes()
    for random in mutators(60):
        (parts / "plan.json").write_bytes(mutated_json(json.loads(plan), random))
        if ends_well(read):
            assert_same(read(), expected)
        (parts / "plan.json").write_bytes(plan)
        (parts / "000000.parquet").write_bytes(mutated_bytes(part, random))
        ends_well(read)
        (parts / "000000.parquet").write_bytes(part)


def test_a_killed_run_leaves_no_processes(tmp_path: Path) -> None:
    write_ilsvrc(tmp_path, val_videos=4, frames=2)
    script = f"""
import pathlib, time
from megavid.datasets.table.problems import Problems
from megavid.datasets.formats.ilsvrc import read_ilsvrc as module

def wait(done, total):
    print("started", flush=True)
    time.sleep(60)

module._FILES_PER_PART = 2
root = pathlib.Path({str(tmp_path)!r})
module.read_ilsvrc(root, "vid_val", problems=Problems(), workers=2, progress=wait)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        process.kill()
        # The workers inherit the pipe, so `communicate` returns only after the last of them has ended.
        process.communicate(timeout=20)


def test_an_invalid_parts_folder_is_refused(tmp_path: Path) -> None:
    write_ilsvrc(tmp_path, val_videos=1)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file/parts: cannot be written to: Not a directory"):
        read_ilsvrc(tmp_path, "vid_val", problems=Problems(), parts=tmp_path / "file" / "parts")


def test_an_empty_subset_is_read(tmp_path: Path) -> None:
    (tmp_path / "Annotations" / "VID" / "val").mkdir(parents=True)
    table = read_ilsvrc(tmp_path, "vid_val", problems=Problems())
    assert (len(table), table.videos, len(table.classes)) == (0, (), 30)


def test_the_classes_can_be_given(tmp_path: Path) -> None:
    write_frame(tmp_path, "VID", "val/v/000000", xml([("cat", 0, (1, 1, 2, 2))]))
    table = read_ilsvrc(
        tmp_path, "vid_val", classes=["dog", "cat"], problems=Problems(), parts=tmp_path / "p"
    )
    assert (table.classes, table.labels.tolist()) == (("dog", "cat"), [1])
