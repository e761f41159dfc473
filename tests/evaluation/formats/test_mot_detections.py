"""MOT's `det.txt` as predictions, with numbers worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from megavid.core.errors import InputError
from megavid.datasets.table.annotations import AnnotationBuilder, Annotations
from megavid.datasets.table.problems import Kind, Problems
from megavid.evaluation.formats.mot_detections import is_mot, read_mot
from megavid.evaluation.formats.prediction_files import open_predictions
from megavid.evaluation.prediction_table import PredictionTable


def read(tmp_path: Path, text: str, *classes: str, problems: Problems | None = None) -> PredictionTable:
    path = tmp_path / "det.txt"
    path.write_text(text)
    return read_mot(path, video="v", class_names=classes or ("person",), problems=problems or Problems())


@pytest.mark.parametrize("end", ["", ",-1,-1,-1", ",1,1", ","])
def test_frames_and_pixels_count_from_1(tmp_path: Path, end: str) -> None:
    table = read(tmp_path, f"\ufeff3,-1,11,21,30.5,40,0.75{end}\n\n1, 7, 1, 1, 2, 2, 1{end}\r\n")
    assert table.videos == ("v",)
    assert table.frame.tolist() == [2, 0]
    assert table.boxes.tolist() == [[10, 20, 40.5, 60], [0, 0, 2, 2]]
    assert table.scores.tolist() == [0.75, 1]
    assert table.labels.tolist() == [0, 0]
    assert table.class_names == ("person",)


def test_classes_count_from_1(tmp_path: Path) -> None:
    table = read(tmp_path, "1,-1,1,1,9,9,0.5,2,-1,-1\n1,-1,1,1,9,9,0.5,1,-1,-1\n", "fox", "hare")
    assert table.labels.tolist() == [1, 0]


def test_an_empty_file_has_no_boxes(tmp_path: Path) -> None:
    assert len(read(tmp_path, "\n")) == 0


@pytest.mark.parametrize(
    ("line", "kind", "message"),
    [
        ("1,-1,1,1,9,9", Kind.BAD_ROW, "expected frame, id, left, top, width, height, score"),
        ("1 1 0.5 1 1 9 9", Kind.BAD_ROW, "got '1 1 0.5 1 1 9 9'"),
        ("1,-1,1,1,9,9,nan", Kind.BAD_ROW, "expected frame, id"),
        ("0,-1,1,1,9,9,0.5", Kind.BAD_ROW, "expected a frame from 1, got 0"),
        ("1.5,-1,1,1,9,9,0.5", Kind.BAD_ROW, "expected a frame from 1, got 1.5"),
        ("1e9,-1,1,1,9,9,0.5", Kind.BAD_ROW, "expected a frame from 1, got 1e"),
        ("1,-1,1e9,1,9,9,0.5", Kind.BAD_ROW, "expected a box within 1e"),
        ("1,-1,1,1,-9,9,0.5", Kind.INVERTED, "expected a width and a height above 0, got -9 and 9"),
        ("1,-1,1,1,9,0,0.5", Kind.INVERTED, "got 9 and 0"),
        ("1,-1,1,1,9,9,34.7", Kind.BAD_ROW, "expected a score from 0 to 1, got 34.7; rescale all scores"),
        ("1,-1,1,1,9,9,1.0000001", Kind.BAD_ROW, "expected a score from 0 to 1, got 1.0000001"),
        ("1,-1,1,1,9,9,-1", Kind.BAD_ROW, "expected a score from 0 to 1, got -1"),
        (
            "1,-1,1,1,9,9,0.5",
            Kind.UNKNOWN_CLASS,
            "expected a class from 1 to 2 in the eighth column, got none",
        ),
        ("1,-1,1,1,9,9,0.5,-1,-1,-1", Kind.UNKNOWN_CLASS, "eighth column, got none"),
        ("1,-1,1,1,9,9,0.5,0", Kind.UNKNOWN_CLASS, "expected a class from 1 to 2, or -1 .*, got 0"),
        ("1,-1,1,1,9,9,0.5,3", Kind.UNKNOWN_CLASS, "got 3"),
        ("1,-1,1,1,9,9,0.5,1.25,2,3", Kind.UNKNOWN_CLASS, "got 1.25"),  # world coordinates
    ],
)
def test_invalid_lines_are_named(tmp_path: Path, line: str, kind: Kind, message: str) -> None:
    good = "1,-1,1,1,9,9,0.5,1\n"
    with pytest.raises(InputError, match=f"det.txt, line 2: .*{message}"):
        read(tmp_path, f"{good}{line}\n", "fox", "hare")
    problems = Problems(skip=True)
    assert len(read(tmp_path, f"{good}{line}\n", "fox", "hare", problems=problems)) == 1
    assert problems.counts() == {kind: 1}


def test_a_repeated_line_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"det.txt, line 3: the same box .* stands there before"):
        read(tmp_path, "1,-1,1,1,9,9,0.5\n\n1,-1,1,1,9,9,0.5\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1,-1,1,1,9,9,0.5\n", True), ("\n\n1 1 0.5 1 1 9 9\n", False), ("", False)],
)
def test_commas_tell_the_format(tmp_path: Path, text: str, expected: bool) -> None:
    (tmp_path / "p.txt").write_text(text)
    assert is_mot(tmp_path / "p.txt") is expected


def data_set(tmp_path: Path, *videos: str, first: int = 0) -> Annotations:
    builder = AnnotationBuilder(("fox", "hare"), root=tmp_path)
    for video in videos:
        builder.video(video)
        builder.frame(first)
        builder.frame(first + 1)
    return builder.build()


def test_predictions_of_a_data_set_of_one_video(tmp_path: Path) -> None:
    path = tmp_path / "det.txt"
    path.write_text("2,-1,1,1,9,9,0.5,2\n")
    table = open_predictions(path, data_set(tmp_path, "a"), problems=Problems())
    assert (table.videos, table.frame.tolist(), table.labels.tolist()) == (("a",), [1], [1])
    with pytest.raises(
        InputError, match=r"det.txt: is of one video.*expected a data set of one video, got 2"
    ):
        open_predictions(path, data_set(tmp_path, "a", "b"), problems=Problems())
    with pytest.raises(InputError, match=r"det.txt: counts frames from 1, as the data seem to do"):
        open_predictions(path, data_set(tmp_path, "a", first=1), problems=Problems())
    assert open_predictions(path, data_set(tmp_path, "a", first=2), problems=Problems()).frame.tolist() == [1]
