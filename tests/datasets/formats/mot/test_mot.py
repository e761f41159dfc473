"""Reading MOTChallenge sequences."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from megavid.core.errors import InputError
from megavid.datasets.formats.mot.read_mot import is_mot, read_mot
from megavid.datasets.table.annotations import NO_TRACK, Annotations
from megavid.datasets.table.problems import Kind, Problems
from tests.datasets.formats.mot.mot_files import add_images, write


def rows(frames: Iterable[int], end: str = "1,1,1.0") -> str:
    """Return the rows of one box in each frame; the left edge of each box is its frame number."""
    return "".join(f"{frame},1,{frame},1,5,5,{end}\n" for frame in frames)


def found_in(table: Annotations) -> dict[str | None, float]:
    """Return the left edge of the box in each image; boxes that `rows` made have their frame number there."""
    return {
        table.files[frame].as_py(): box[0] + 1
        for frame, box in zip(table.box_frames.tolist(), table.boxes.tolist(), strict=True)
    }


def test_a_sequence_is_read(tmp_path: Path) -> None:
    text = "1,5,11,21,10,20,1,3,1\r\n3,5,12,21,10,20,1,3,0.2\r\n3,6,1,1,4,4,0,1,1\r\n"
    table = read_mot(write(tmp_path / "MOT17-02", text, images=4), problems=Problems())
    assert table.videos == ("MOT17-02",)
    assert table.number.tolist() == [0, 1, 2, 3]
    assert table.files.to_pylist() == [f"img1/00000{i}.jpg" for i in range(1, 5)]
    assert table.box_frames.tolist() == [0, 2, 2]
    assert table.boxes.tolist() == [[10, 20, 20, 40], [11, 20, 21, 40], [0, 0, 4, 4]]
    assert [table.classes[i] for i in table.labels] == ["car", "car", "pedestrian"]
    assert table.tracks.tolist() == [5, 5, 6]
    assert table.occluded.tolist() == [False, True, False]
    assert table.difficult.tolist() == [False, False, True]
    assert set(table.width.tolist()) == {64}


def test_a_folder_of_sequences_without_descriptions(tmp_path: Path) -> None:
    write(tmp_path / "b" / "two", "2,1,1,1,5,5\n", info=False)
    write(tmp_path / "a", "", info=False, images=1)
    (tmp_path / "b" / "two.mp4").touch()
    table = read_mot(tmp_path, problems=Problems())
    assert (table.videos, table.sources) == (("a", "b/two"), ("", "b/two.mp4"))
    assert table.number.tolist() == [0, 0, 1]
    assert table.files.to_pylist() == ["a/img1/000001.jpg", None, None]
    assert (table.boxes.tolist(), table.labels.tolist()) == ([[0, 0, 5, 5]], [0])


def test_sequences_with_too_many_frames_are_refused(tmp_path: Path) -> None:
    for name in "abcdef":
        write(tmp_path / name, rows([999_999]), info=False)
    with pytest.raises(InputError, match="expected at most 5000000 frames in all sequences, got 5999994"):
        read_mot(tmp_path, problems=Problems())


def test_missing_images_cause_a_warning(tmp_path: Path) -> None:
    write(tmp_path, rows([1]))
    problems = Problems()
    read_mot(tmp_path, problems=problems)
    assert problems.warnings == [
        f"video {tmp_path.name!r}: no images found: expected some in {tmp_path / 'img1'}, or a video called "
        f"{tmp_path.name}"
    ]


def test_objects_in_rows_without_a_class_have_the_given_class(tmp_path: Path) -> None:
    write(tmp_path, "1,1,1,1,5,5,1,-1,-1\n", info=False)
    table = read_mot(tmp_path, classes=["ant"], problems=Problems())
    assert (table.classes, table.labels.tolist()) == (("ant",), [0])


def test_the_path_may_be_gt_txt(tmp_path: Path) -> None:
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
        ("0,2,1,1,5,5,1,1", Kind.BAD_ROW, "line 2: expected a frame from 1, got 0"),
        ("1,2,1,1,0,5,1,1", Kind.INVERTED, "line 2: expected a width and a height above 0, got 0 and 5"),
        ("1,2,1,1,5,5,1,3,1", Kind.UNKNOWN_CLASS, "line 2: expected a class from 1 to 2, got 3"),
        ("1,2,1,1,5,5,1,-1,1", Kind.UNKNOWN_CLASS, "line 2: expected a class from 1 to 2, got none"),
        ("1,2,1,1,5,5,1,1.5,1", Kind.BAD_ROW, "line 2: expected a whole number .* as class, got 1.5"),
        ("1.5,2,1,1,5,5,1,1,1", Kind.BAD_ROW, "line 2: expected a whole number .* as frame, got 1.5"),
        ("1e300,2,1,1,5,5,1,1,1", Kind.BAD_ROW, "line 2: expected a whole number .* as frame, got 1e"),
        ("1,2,nan,1,5,5,1,1,1", Kind.BAD_ROW, "line 2: expected frame, id, left"),
        ("1,2,1,1,inf,5,1,1,1", Kind.BAD_ROW, "line 2: expected frame, id, left"),
        ("1,2,1e12,1,5,5,1,1,1", Kind.BAD_ROW, r"line 2: expected a box within 1e\+07 pixels"),
        ("5,2,1,1,5,5,1,1,1", Kind.BAD_ROW, "line 2: expected a frame up to 4, the last of the sequence"),
        ("1,1,1,1,5,5,1,1", Kind.DUPLICATE_BOX, "line 2: object 1 is in frame 1 twice"),
    ],
)
def test_bad_lines_are_refused_or_skipped(tmp_path: Path, line: str, kind: Kind, message: str) -> None:
    write(tmp_path, f"1,1,1,1,5,5,1,1\n{line}\n\n2,1,1,1,5,5,1,1\n")
    (tmp_path / "gt" / "labels.txt").write_text("fox\nbadger\n")
    with pytest.raises(InputError, match=message):
        read_mot(tmp_path, problems=Problems())
    problems = Problems(skip=True)
    assert len(read_mot(tmp_path, problems=problems).boxes) == 2
    assert problems.counts() == {kind: 1}


def test_a_folder_without_a_sequence_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected gt/gt.txt in it or in its folders"):
        read_mot(tmp_path, problems=Problems())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[Sequence]\nimWidth=x\n", "expected a sequence's description"),
        ("no section\n", "expected a sequence's description"),
        ("[Sequence]\nimWidth\n", "expected a sequence's description"),
        (f"[Sequence]\nimWidth={'9' * 5000}\n", "expected a sequence's description"),
        ("[Sequence]\nseqLength=1000001\n", "seqLength: expected a number up to 1000000, got 1000001"),
        ("[Sequence]\nimHeight=-1\n", "imHeight: expected a number up to 1000000, got -1"),
        ("[Sequence]\nimDir=../img1\n", "imDir: expected a folder in the sequence's, got '../img1'"),
    ],
)
def test_a_broken_description_is_refused(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path, "1,1,1,1,5,5\n")
    (tmp_path / "seqinfo.ini").write_text(text)
    with pytest.raises(InputError, match=f"seqinfo.ini: {message}"):
        read_mot(tmp_path, problems=Problems())


@pytest.mark.parametrize(
    ("frames", "images"),
    [
        (range(31, 36), range(31, 36)),  # the second half of a sequence
        (range(11, 16), range(11, 31)),
        (range(1, 30, 5), range(1, 30, 5)),
        ([1, 2, 4], [1, 2, 4, 5]),
    ],
)
def test_numbers_in_image_names_are_frame_numbers(
    tmp_path: Path, frames: Iterable[int], images: Iterable[int]
) -> None:
    write(tmp_path / "x", rows(frames), info=False)
    add_images(tmp_path / "x", images)
    problems = Problems()
    table = read_mot(tmp_path / "x", problems=problems)
    assert found_in(table) == {f"img1/{frame:06d}.jpg": frame for frame in frames}
    assert table.number.tolist() == [number - 1 for number in images]
    assert "by the numbers in their names" in problems.notes[0]


def test_images_may_be_numbered_from_0(tmp_path: Path) -> None:
    write(tmp_path / "x", rows(range(1, 4)), info=False)
    add_images(tmp_path / "x", range(4), prefix="frame_", suffix=".PNG")
    table = read_mot(tmp_path / "x", problems=Problems())
    assert found_in(table) == {f"img1/frame_{frame - 1:06d}.PNG": frame for frame in range(1, 4)}
    assert table.number.tolist() == [0, 1, 2, 3]


def test_frames_without_images_are_kept(tmp_path: Path) -> None:
    write(tmp_path / "x", rows([1, 2, 3]), info=False)
    add_images(tmp_path / "x", [1, 3, 4])
    table = read_mot(tmp_path / "x", problems=Problems())
    assert found_in(table) == {"img1/000001.jpg": 1, None: 2, "img1/000003.jpg": 3}


def test_ambiguous_images_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "x", rows(range(1, 21)), info=False)
    add_images(tmp_path / "x", range(11, 41))
    with pytest.raises(InputError, match="x: cannot tell which image is which frame"):
        read_mot(tmp_path / "x", problems=Problems())


def test_a_frame_number_far_beyond_the_images_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "x", rows([1]) + f"{10**9},1,1,1,5,5\n{10**15},1,1,1,5,5\n", info=False, images=1)
    with pytest.raises(InputError, match="line 2: expected a frame up to 1, the last of the seq"):
        read_mot(tmp_path / "x", problems=Problems())
    table = read_mot(tmp_path / "x", problems=Problems(skip=True))
    assert table.number.tolist() == [0]
    write(tmp_path / "y", rows([1]) + f"{10**9},1,1,1,5,5\n", info=False)
    with pytest.raises(InputError, match="line 2: expected a frame up to 1000000"):
        read_mot(tmp_path / "y", problems=Problems())


def test_the_description_chooses_the_suffix_of_images(tmp_path: Path) -> None:
    write(tmp_path / "x", rows([1, 2]), images=2)
    add_images(tmp_path / "x", [1, 2], suffix=".png")
    with (tmp_path / "x" / "seqinfo.ini").open("a") as file:
        file.write("\nimExt=.png\n")
    assert set(found_in(read_mot(tmp_path / "x", problems=Problems()))) == {
        "img1/000001.png",
        "img1/000002.png",
    }


def test_class_names_are_read_from_labels_txt(tmp_path: Path) -> None:
    write(tmp_path / "a", rows([1], "1,2,1.0"))
    (tmp_path / "a" / "gt" / "labels.txt").write_text("fox\nbadger\n")
    write(tmp_path / "b", rows([1], "1,1,1.0"))
    (tmp_path / "b" / "gt" / "labels.txt").write_text("badger\nboar\n")
    table = read_mot(tmp_path, problems=Problems())
    assert (table.classes, table.labels.tolist()) == (("fox", "badger", "boar"), [1, 1])
    table = read_mot(tmp_path, classes=["badger", "fox"], problems=Problems())
    assert table.labels.tolist() == [0, 0]
    with pytest.raises(InputError, match="gt.txt, line 1: expected one of the chosen classes, got 'badger'"):
        read_mot(tmp_path / "a", classes=["fox"], problems=Problems())
    (tmp_path / "a" / "gt" / "labels.txt").write_text("fox\nfox\n")
    with pytest.raises(InputError, match="labels.txt: expected one class name per line, each once"):
        read_mot(tmp_path / "a", problems=Problems())


@pytest.mark.parametrize(
    "end", ["1,-1,-1,-1", "1,3.2,4.9,0", "1,-1,-1", "1,-1.5,2,0", "1,0,0,0", "1", "1,-1", "1,1,1"]
)
def test_objects_in_rows_without_a_class_have_the_first_class(tmp_path: Path, end: str) -> None:
    write(tmp_path, rows([1, 2], end))
    table = read_mot(tmp_path, problems=Problems())
    assert (table.classes, table.labels.tolist()) == (("pedestrian",), [0, 0])
    assert not table.occluded.any()
    table = read_mot(tmp_path, classes=["ant", "bee"], problems=Problems())
    assert (table.classes, table.labels.tolist()) == (("ant", "bee"), [0, 0])


def test_unnamed_classes_are_refused(tmp_path: Path) -> None:
    write(tmp_path, rows([1], "1,3,1"))
    with pytest.raises(InputError, match=r"gt.txt: expected --classes or a file labels.txt .* up to 3"):
        read_mot(tmp_path, problems=Problems())
    assert read_mot(tmp_path, classes=["a", "b", "c"], problems=Problems()).labels.tolist() == [2]


def test_ten_columns_with_possible_classes_are_refused(tmp_path: Path) -> None:
    write(tmp_path, rows([1], "1,4,0,1"))
    assert read_mot(tmp_path, classes=["ant"], problems=Problems()).labels.tolist() == [0]
    with pytest.raises(InputError, match="expected world coordinates or -1 in the last three of ten"):
        read_mot(tmp_path, classes=["ant", "bee"], problems=Problems())


def test_ten_columns_with_only_1_in_the_eighth_have_no_classes(tmp_path: Path) -> None:
    write(tmp_path, rows([1, 2], "1,1,1,1"))
    assert read_mot(tmp_path, problems=Problems()).classes == ("pedestrian",)


def test_ten_columns_with_classes_are_not_all_pedestrians(tmp_path: Path) -> None:
    write(tmp_path, rows([1, 2], "1,4,0,0"))
    with pytest.raises(InputError, match="if they are classes, leave nine columns"):
        read_mot(tmp_path, problems=Problems())


@pytest.mark.parametrize("classes", [None, ["ant"]])
def test_classes_0_and_1_are_refused(tmp_path: Path, classes: list[str] | None) -> None:
    write(tmp_path, rows([1, 2], "1,0,1") + rows([3], "1,1,1"))
    with pytest.raises(InputError, match="gt.txt: expected classes that count from 1, got 0 and 1"):
        read_mot(tmp_path, classes=classes, problems=Problems())


def test_an_empty_line_in_labels_txt_is_refused(tmp_path: Path) -> None:
    write(tmp_path, rows([1], "1,2,1"))
    (tmp_path / "gt" / "labels.txt").write_text("fox\n\nbadger\n")
    with pytest.raises(InputError, match="labels.txt: expected one class name per line"):
        read_mot(tmp_path, problems=Problems())


def test_track_minus_one_means_no_track(tmp_path: Path) -> None:
    write(tmp_path, "1,-1,1,1,5,5\n1,-1,2,2,5,5\n")
    assert read_mot(tmp_path, problems=Problems()).tracks.tolist() == [NO_TRACK, NO_TRACK]


def test_an_image_folder_with_an_impossible_name_is_not_found(tmp_path: Path) -> None:
    write(tmp_path, rows([1, 2]))
    (tmp_path / "seqinfo.ini").write_text(f"[Sequence]\nimDir={'x' * 5000}\n")
    assert read_mot(tmp_path, problems=Problems()).files.to_pylist() == [None, None]


def test_frame_numbers_that_may_be_positions_are_refused(tmp_path: Path) -> None:
    write(tmp_path, rows([5, 6]), info=False)
    add_images(tmp_path, range(3, 13), prefix="frame_")
    assert found_in(read_mot(tmp_path, problems=Problems())) == {
        f"img1/frame_{frame:06d}.jpg": frame for frame in (5, 6)
    }
    (tmp_path / "gt" / "labels.txt").write_text("fox\n")
    with pytest.raises(InputError, match="cannot tell whether frames count from 1 or as the images"):
        read_mot(tmp_path, problems=Problems())
    (tmp_path / "gt" / "gt.txt").write_text(rows([5, 12]))  # 12 cannot be a position: there are ten images
    assert len(read_mot(tmp_path, problems=Problems()).boxes) == 2
