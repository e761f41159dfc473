"""megavid's CSV is read as a data set, also after a spreadsheet has written it."""

from __future__ import annotations

from pathlib import Path

import PIL.Image
import pytest

from megavid.core.errors import InputError
from megavid.datasets.formats.box_csv.read_box_csv import read_box_csv
from megavid.datasets.open import recognize
from megavid.datasets.table.annotations import NO_TRACK, Annotations
from megavid.datasets.table.problems import Kind, Problems

HEADER = "video,frame,time,file,class,score,x1,y1,x2,y2,track,interpolated\n"
SHORT = "video,frame,class,x1,y1,x2,y2\n"


def read(folder: Path, text: str, *, problems: Problems | None = None, **options: object) -> Annotations:
    (folder / "boxes.csv").write_text(text, encoding="utf-8")
    return read_box_csv(folder / "boxes.csv", problems=problems or Problems(), **options)  # type: ignore[arg-type]


def test_rows_become_boxes(tmp_path: Path) -> None:
    """Rows may be in any order; scores are not used, and a row without a box is a frame without objects."""
    found = read(
        tmp_path,
        HEADER
        + "b,7,0.7,,elk,0.25,1,2,3.5,4,,0\n"
        + "a,5,,,fox,,10,20,30,40,9,1\n"
        + "a,3,,,,,,,,,,\n"
        + "a,5,,,elk,oops,-1,0,5,6,2.0,\n"
        + "\n",
    )
    assert (found.videos, found.classes) == (("b", "a"), ("elk", "fox"))
    assert (found.video.tolist(), found.number.tolist()) == ([0, 1, 1], [7, 3, 5])
    assert found.boxes.tolist() == [[1, 2, 3.5, 4], [10, 20, 30, 40], [-1, 0, 5, 6]]
    assert found.box_frames.tolist() == [0, 2, 2]
    assert found.labels.tolist() == [0, 1, 0]
    assert found.tracks.tolist() == [NO_TRACK, 9, 2]
    assert found.generated.tolist() == [False, True, False]


def test_needed_columns_suffice_in_any_order(tmp_path: Path) -> None:
    found = read(tmp_path, "\ufeffclass,video,frame,x1,x2,y1,y2\r\nfox,a,3,1,2,3,4\r\n")
    assert found.boxes.tolist() == [[1, 3, 2, 4]]
    assert found.number.tolist() == [3]


def test_a_frame_without_boxes_may_get_one_later(tmp_path: Path) -> None:
    found = read(tmp_path, SHORT + "a,0,,,,,\na,0,fox,1,2,3,4\n")
    assert (len(found), len(found.boxes)) == (1, 1)


def test_images_of_a_folder_are_matched(tmp_path: Path) -> None:
    (tmp_path / "sea" / "pond").mkdir(parents=True)
    for number in range(3):
        PIL.Image.new("RGB", (32, 24)).save(tmp_path / "sea" / "pond" / f"{number}.png")
    problems = Problems()
    found = read(tmp_path, SHORT + "sea/pond,2,fox,1,2,3,4\nsea/pond,0,,,,,\n", problems=problems)
    assert found.files.to_pylist() == ["sea/pond/0.png", "sea/pond/2.png"]
    assert problems.warnings == []
    read(tmp_path, SHORT + "sea/lake,2,fox,1,2,3,4\n", problems=problems)
    assert "no images found" in problems.warnings[0]


def test_two_videos_do_not_share_a_file(tmp_path: Path) -> None:
    (tmp_path / "pond.mp4").write_bytes(b"x")
    assert read(tmp_path, SHORT + "a/pond.mp4,2,fox,1,2,3,4\n").sources == ("pond.mp4",)
    found = read(tmp_path, SHORT + "a/pond.mp4,2,fox,1,2,3,4\nb/pond.mp4,2,fox,1,2,3,4\n")
    assert found.sources == ("", "")
    with pytest.raises(
        InputError, match=r"line 3: expected one name for pond\.mp4, got 'pond' and 'pond\.mp4'"
    ):
        read(tmp_path, SHORT + "pond,2,fox,1,2,3,4\npond.mp4,3,fox,1,2,3,4\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: column 'video' is missing"),
        ("video;frame;class;x1;y1;x2;y2\na;0;fox;1;2;3;4\n", "separated by commas, got 'video;frame;"),
        ("video,frame,class,x1,y1,x2\n", "line 1: column 'y2' is missing: expected video, frame, time"),
        (SHORT.strip() + ",color\n", "line 1: column 'color' is unknown"),
        (SHORT.strip() + ",y2\n", "line 1: expected each column once"),
        (SHORT + "a,0,fox,1,2,3\n", "line 2: expected 7 values, as the first line has, got 6"),
        (SHORT + ",0,fox,1,2,3,4\n", "line 2: expected the name of a video without blanks around it, got ''"),
        (
            SHORT + "a ,0,fox,1,2,3,4\n",
            "line 2: expected the name of a video without blanks around it, got 'a '",
        ),
        (SHORT + "a,1_0,fox,1,2,3,4\n", "line 2: expected frame as a whole number from 0 to"),
        (SHORT + "a,1, fox,1,2,3,4\n", "line 2: expected the name of a class without blanks around it"),
        (SHORT + "../a,0,fox,1,2,3,4\n", "line 2: '../a': expected the name of a file within"),
        (SHORT + "a,-1,fox,1,2,3,4\n", "line 2: expected frame as a whole number from 0 to"),
        (SHORT + "a,1.5,fox,1,2,3,4\n", "line 2: expected frame as a whole number from 0 to"),
        (SHORT + "a,,fox,1,2,3,4\n", "line 2: expected frame as a whole number from 0 to"),
        (SHORT + "a,1e300,fox,1,2,3,4\n", "line 2: expected frame as a whole number from 0 to"),
        (SHORT + "a,0,,1,2,3,4\n", "line 2: expected the name of a class without blanks around it, got ''"),
        (SHORT + "a,0,fox,,2,3,4\n", "line 2: expected x1 as a number of pixels, got ''"),
        (SHORT + 'a,0,fox,"1,5",2,3,4\n', "line 2: expected x1 as a number of pixels, got '1,5'"),
        (SHORT + "a,0,fox,1,nan,3,4\n", "line 2: expected y1 as a number of pixels, got 'nan'"),
        (SHORT + "a,0,fox,1,2,inf,4\n", "line 2: expected x2 as a number of pixels, got 'inf'"),
        (SHORT + "a,0,fox,1,2,3,1e8\n", "line 2: expected y2 as a number of pixels, got '1e8'"),
        (SHORT + "\na,0,fox,3,2,1,4\n", "line 3: expected x1 < x2 and y1 < y2, got 3, 2, 1, 4"),
        (HEADER + "a,0,,,fox,,1,2,3,4,x,0\n", "line 2: expected track as a whole number from 0"),
        (HEADER + "a,0,,,fox,,1,2,3,4,-1,0\n", "line 2: expected track as a whole number from 0"),
        (HEADER + "a,0,,,fox,,1,2,3,4,,yes\n", "line 2: expected interpolated as 0 or 1, got 'yes'"),
        (
            HEADER + "a,0,,,fox,,1,2,3,4,7,\na,0,,,elk,,1,2,5,6,7,\n",
            "line 3: track 7 has another box",
        ),
        (HEADER + "a,0,,0.png,fox,,1,2,3,4,,\na,1,,,fox,,1,2,3,4,,\n", "line 3: expected a file for frame 1"),
        (HEADER + "a,0,,0.png,fox,,1,2,3,4,,\na,0,,1.png,fox,,1,2,3,9,,\n", "expected one file for frame 0"),
        (SHORT + 'a,0,"fox,1,2,3,4\n', "expected CSV: unexpected end of data"),
    ],
)
def test_broken_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        read(tmp_path, text)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_invalid_rows_are_skipped(tmp_path: Path) -> None:
    problems = Problems(skip=True)
    text = SHORT + "a,0,fox,3,2,1,4\na,1,elk,1,2,3,4\na,2,fox,1,2,3,4\na,x,fox,1,2,3,4\n"
    found = read(tmp_path, text, classes=["fox"], problems=problems)
    assert found.boxes.tolist() == [[1, 2, 3, 4]]
    assert problems.counts() == {Kind.INVERTED: 1, Kind.UNKNOWN_CLASS: 1, Kind.BAD_ROW: 1}


def test_recognition_by_the_suffix(tmp_path: Path) -> None:
    (tmp_path / "a.CSV").write_text(SHORT)
    assert recognize(tmp_path / "a.CSV") == "csv"
