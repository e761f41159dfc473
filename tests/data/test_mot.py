"""MOTChallenge files."""

from __future__ import annotations

from pathlib import Path

import pytest

from megavid.core.errors import InputError
from megavid.core.problems import Kind, Problems
from megavid.data.mot import is_mot, read_mot


def write(folder: Path, text: str, *, info: bool = True, images: int = 0) -> Path:
    (folder / "gt").mkdir(parents=True)
    (folder / "gt" / "gt.txt").write_bytes(text.encode())
    if info:
        lines = ["[Sequence]", "name=x", "imDir=img1", "seqLength=4", "imWidth=64", "imHeight=48"]
        (folder / "seqinfo.ini").write_text("\n".join(lines))
    for number in range(1, images + 1):
        (folder / "img1").mkdir(exist_ok=True)
        (folder / "img1" / f"{number:06d}.jpg").touch()
    return folder


def test_a_sequence(tmp_path: Path) -> None:
    text = "1,5,11,21,10,20,1,3,1\r\n3,5,12,21,10,20,1,3,0.2\r\n3,6,1,1,4,4,0,1,1\r\n"
    table = read_mot(write(tmp_path / "MOT-1", text, images=4), problems=Problems())
    assert table.videos == ("MOT-1",)
    assert table.number.tolist() == [0, 1, 2, 3]
    assert table.files.to_pylist() == [f"img1/00000{i}.jpg" for i in range(1, 5)]
    assert table.box_frames.tolist() == [0, 2, 2]
    assert table.boxes.tolist() == [[10, 20, 20, 40], [11, 20, 21, 40], [0, 0, 4, 4]]
    assert [table.classes[i] for i in table.labels] == ["car", "car", "pedestrian"]
    assert table.tracks.tolist() == [5, 5, 6]
    assert table.occluded.tolist() == [False, True, False]
    assert table.difficult.tolist() == [False, False, True]
    assert set(table.width.tolist()) == {64}


def test_a_folder_of_sequences_without_much_else(tmp_path: Path) -> None:
    write(tmp_path / "b" / "two", "2,1,1,1,5,5\n", info=False)
    write(tmp_path / "a", "", info=False, images=1)
    (tmp_path / "b" / "two.mp4").touch()
    table = read_mot(tmp_path, problems=Problems())
    assert (table.videos, table.sources) == (("a", "b/two"), ("", "b/two.mp4"))
    assert table.number.tolist() == [0, 0, 1]
    assert table.files.to_pylist() == ["a/img1/000001.jpg", None, None]
    assert (table.boxes.tolist(), table.labels.tolist()) == ([[0, 0, 5, 5]], [0])


def test_one_class_and_none_in_the_file(tmp_path: Path) -> None:
    write(tmp_path, "1,1,1,1,5,5,1,-1,-1\n", info=False)
    table = read_mot(tmp_path, classes=["ant"], problems=Problems())
    assert (table.classes, table.labels.tolist()) == (("ant",), [0])


def test_the_file_itself(tmp_path: Path) -> None:
    write(tmp_path / "x", "1,1,1,1,5,5\n")
    path = tmp_path / "x" / "gt" / "gt.txt"
    assert is_mot(path)
    assert len(read_mot(path, problems=Problems()).boxes) == 1
    assert not is_mot(tmp_path / "x" / "seqinfo.ini")


@pytest.mark.parametrize(
    ("line", "kind", "message"),
    [
        ("1,2,3", Kind.BAD_ROW, "gt.txt, line 2: expected frame, id, left"),
        ("1,a,1,1,5,5", Kind.BAD_ROW, "line 2: expected frame, id"),
        ("0,2,1,1,5,5", Kind.BAD_ROW, "line 2: expected a frame from 1, got 0"),
        ("1,2,1,1,0,5", Kind.INVERTED, "line 2: expected a width and a height above 0, got 0 and 5"),
        ("1,2,1,1,5,5,1,14,1", Kind.UNKNOWN_CLASS, "line 2: expected a class from 1 to 13, got 14"),
        ("1,1,1,1,5,5", Kind.DUPLICATE_BOX, "line 2: object 1 stands in frame 1 before"),
    ],
)
def test_bad_lines(tmp_path: Path, line: str, kind: Kind, message: str) -> None:
    write(tmp_path, f"1,1,1,1,5,5\n{line}\n\n2,1,1,1,5,5\n")
    with pytest.raises(InputError, match=message):
        read_mot(tmp_path, problems=Problems())
    problems = Problems(skip=True)
    assert len(read_mot(tmp_path, problems=problems).boxes) == 2
    assert problems.counts() == {kind: 1}


def test_no_sequence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected gt/gt.txt in it or in its folders"):
        read_mot(tmp_path, problems=Problems())


@pytest.mark.parametrize("text", ["[Sequence]\nimWidth=x\n", "no section\n", "[Sequence]\nimWidth\n"])
def test_a_broken_description(tmp_path: Path, text: str) -> None:
    write(tmp_path, "1,1,1,1,5,5\n")
    (tmp_path / "seqinfo.ini").write_text(text)
    with pytest.raises(InputError, match=r"seqinfo.ini: expected a sequence's description"):
        read_mot(tmp_path, problems=Problems())
