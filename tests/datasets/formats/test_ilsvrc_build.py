"""Building the table of an ILSVRC data set in pieces and processes."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from megavid.core.errors import InputError
from megavid.datasets.formats.ilsvrc import build as index
from megavid.datasets.formats.ilsvrc.build import read_ilsvrc
from megavid.datasets.table.annotations import Annotations
from megavid.datasets.table.problems import Kind, Problems
from tests.datasets.formats.ilsvrc_set import write_frame, write_ilsvrc, xml
from tests.datasets.table.test_annotations import assert_same
from tests.mutations import ends_well, mutated_bytes, mutated_json, mutators


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of a few files."""
    monkeypatch.setattr(index, "_FILES_AT_ONCE", 6)


@pytest.mark.usefixtures("small")
def test_pieces_and_processes_make_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_ilsvrc(tmp_path, val_videos=7, frames=4)
    seen: list[tuple[int, int]] = []
    one = read_ilsvrc(
        tmp_path,
        "vid_val",
        problems=Problems(),
        workers=1,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(8, 28), (16, 28), (24, 28), (28, 28)]  # whole videos
    assert len(one) == 28
    assert one.videos == tuple(f"val/ILSVRC2015_val_{v:08d}" for v in range(7))
    two = read_ilsvrc(tmp_path, "vid_val", problems=Problems(), workers=2, parts=tmp_path / "parts")
    assert_same(one, two)
    monkeypatch.setattr(index, "_FILES_AT_ONCE", 1000)
    assert_same(one, read_ilsvrc(tmp_path, "vid_val", problems=Problems(), parts=tmp_path / "parts"))
    assert one.image_ids.tolist() == list(range(1, 29))


@pytest.mark.usefixtures("small")
def test_finished_pieces_are_not_read_again(tmp_path: Path) -> None:
    write_ilsvrc(tmp_path, val_videos=4, frames=4)
    parts = tmp_path / "parts"
    bad = "val/ILSVRC2015_val_00000002/000001"
    write_frame(tmp_path, "VID", bad, "<annotation>")
    with pytest.raises(InputError, match="00000002/000001.xml: expected an annotation in XML"):
        read_ilsvrc(tmp_path, "vid_val", problems=Problems(), workers=1, parts=parts)
    assert len(list(parts.glob("*.parquet"))) == 1
    # What was read without a problem is not looked at again; the rest is, mended or not.
    problems = Problems(skip=True)
    (tmp_path / "Annotations" / "VID" / "val" / "ILSVRC2015_val_00000000" / "000000.xml").write_text("no")
    table = read_ilsvrc(tmp_path, "vid_val", problems=problems, workers=1, parts=parts)
    assert problems.counts() == {Kind.UNREADABLE: 1}
    assert len(table) == 15
    # Another list is another job.
    (tmp_path / "ImageSets").mkdir()
    (tmp_path / "ImageSets" / "VID_val_videos.txt").write_text("val/ILSVRC2015_val_00000000 1 0 4\n")
    with pytest.raises(InputError, match="00000000/000000.xml: expected an annotation"):
        read_ilsvrc(tmp_path, "vid_val", problems=Problems(), workers=1, parts=parts)
    assert list(parts.glob("*.parquet")) == []


@pytest.mark.usefixtures("small")
def test_the_first_problem_is_the_error_whichever_process_is_first(tmp_path: Path) -> None:
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


@pytest.mark.usefixtures("small")
def test_a_broken_plan_or_a_piece_of_another_set(tmp_path: Path) -> None:
    parts = tmp_path / "parts"

    def read(name: str) -> Annotations:
        return read_ilsvrc(tmp_path / name, "vid_val", problems=Problems(), workers=1, parts=parts)

    for name in ("one", "two"):
        write_ilsvrc(tmp_path / name, val_videos=4, frames=4)
    read("one")
    piece = (parts / "000000.parquet").read_bytes()
    read("two")
    (parts / "000000.parquet").write_bytes(piece)
    with pytest.raises(InputError, match=r"000000.parquet: expected a piece of .*two; remove .*parts to"):
        read("two")
    (parts / "000000.parquet").write_bytes((parts / "000001.parquet").read_bytes())
    with pytest.raises(InputError, match=r"000000.parquet: expected a piece of .*two"):
        read("two")
    (parts / "plan.json").write_text('{"index": "2"}')
    with pytest.raises(InputError, match=r"plan.json: index: .*, got '2'; .*; remove .*parts to begin"):
        read("two")


@pytest.mark.usefixtures("small")
def test_mutated_plans_and_pieces_end_in_a_table_or_an_error(tmp_path: Path) -> None:
    write_ilsvrc(tmp_path, val_videos=4, frames=4)
    parts = tmp_path / "parts"
    read = partial(read_ilsvrc, tmp_path, "vid_val", problems=Problems(), workers=1, parts=parts)
    expected = read()
    plan, piece = (parts / "plan.json").read_bytes(), (parts / "000000.parquet").read_bytes()
    for random in mutators(60):
        (parts / "plan.json").write_bytes(mutated_json(json.loads(plan), random))
        if ends_well(read):
            assert_same(read(), expected)
        (parts / "plan.json").write_bytes(plan)
        (parts / "000000.parquet").write_bytes(mutated_bytes(piece, random))
        ends_well(read)
        (parts / "000000.parquet").write_bytes(piece)


def test_a_killed_run_leaves_no_processes(tmp_path: Path) -> None:
    write_ilsvrc(tmp_path, val_videos=4, frames=2)
    script = f"""
import pathlib, time
from megavid.datasets.table.problems import Problems
from megavid.datasets.formats.ilsvrc import build as index

def wait(done, total):
    print("started", flush=True)
    time.sleep(60)

index._FILES_AT_ONCE = 2
root = pathlib.Path({str(tmp_path)!r})
index.read_ilsvrc(root, "vid_val", problems=Problems(), workers=2, progress=wait)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        process.kill()
        # Its processes write to the same pipe, which is at its end when the last of them is.
        process.communicate(timeout=20)


def test_a_folder_for_the_pieces_that_cannot_be(tmp_path: Path) -> None:
    write_ilsvrc(tmp_path, val_videos=1)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file/parts: cannot be written to: Not a directory"):
        read_ilsvrc(tmp_path, "vid_val", problems=Problems(), parts=tmp_path / "file" / "parts")


def test_nothing_to_read(tmp_path: Path) -> None:
    (tmp_path / "Annotations" / "VID" / "val").mkdir(parents=True)
    table = read_ilsvrc(tmp_path, "vid_val", problems=Problems())
    assert (len(table), table.videos, len(table.classes)) == (0, (), 30)


def test_classes_of_ones_own(tmp_path: Path) -> None:
    write_frame(tmp_path, "VID", "val/v/000000", xml([("cat", 0, (1, 1, 2, 2))]))
    table = read_ilsvrc(
        tmp_path, "vid_val", classes=["dog", "cat"], problems=Problems(), parts=tmp_path / "p"
    )
    assert (table.classes, table.labels.tolist()) == (("dog", "cat"), [1])
