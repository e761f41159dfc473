"""Boxes that were exported to Label Studio and CSV, and perhaps corrected there, come back as data sets."""

from __future__ import annotations

import csv
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from megavid.cli import main
from megavid.datasets.frame_reader import read_frame
from megavid.datasets.open import Source, open_annotations
from megavid.datasets.table.problems import Problems
from megavid.evaluation.formats.parquet_writer import PredictionWriter
from tests.cli.exported_clip import expected_rows, export, images, read, rows_of
from tests.cli.helpers import error_of, write_video
from tests.evaluation.predicted_clip import FRAMES, HEIGHT, ROWS, WIDTH, add_clip, write_clip

FORMS = [("labelstudio", "out.json"), ("csv", "out.csv")]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Write the video and its predictions; return the folder of both."""
    write_video(tmp_path / "clip.mp4", images(), Fraction(10))
    write_clip(tmp_path / "p.parquet")
    return tmp_path


def test_csv_has_a_row_for_each_box_and_each_empty_frame(clip: Path) -> None:
    assert export(clip, "csv", "out.csv") == 0
    with (clip / "out.csv").open() as file:
        every = list(csv.DictReader(file))
    rows = [row for row in every if row["class"]]
    assert rows[0] == {
        **{
            "video": "clip.mp4",
            "frame": "0",
            "time": "0",
            "file": "",
            "class": "cat",
            "score": "0.899999976",
        },
        **{"x1": "1", "y1": "2", "x2": "11", "y2": "12", "track": "3", "interpolated": "0"},
    }
    read_back = [
        (
            int(r["frame"]),
            r["class"],
            r["track"],
            float(r["score"]),
            *(float(r[c]) for c in ("x1", "y1", "x2", "y2")),
        )
        for r in rows
    ]
    for one, row in zip(read_back, ROWS, strict=True):
        assert one[:3] == (row[0], ("cat", "dog")[row[1]], str(row[2]) if row[2] >= 0 else "")
        assert one[3:] == pytest.approx(row[3:])
    assert float(rows[-1]["time"]) == pytest.approx(0.7)
    assert [row["interpolated"] for row in rows] == ["0", "0", "0", "0", "1", "0", "0"]
    # Frames 2 and 4 have no boxes.
    empty = dict.fromkeys(every[0], "") | {"video": "clip.mp4"}
    assert [row for row in every if not row["class"]] == [{**empty, "frame": "2"}, {**empty, "frame": "4"}]


def test_label_studio_tasks(clip: Path) -> None:
    assert export(clip, "labelstudio", "out.json", "--address", "/data/local-files/?d=") == 0
    [task] = json.loads((clip / "out.json").read_text())
    assert task["data"] == {"video": "/data/local-files/?d=clip.mp4", "megavid_frames": [[0, 7, 1]]}
    [prediction] = task["predictions"]
    regions = {region["id"]: region for region in prediction["result"]}
    assert list(regions) == ["track_3_0", "box_2", "track_7_1"]
    cat = regions["track_3_0"]
    tags = {"type": "videorectangle", "from_name": "box", "to_name": "video"}
    assert tags.items() <= cat.items()
    assert cat["score"] == pytest.approx((0.9 + 0.8 + 0.7) / 3)
    assert cat["value"]["labels"] == ["cat"]
    sequence = cat["value"]["sequence"]
    assert [shape["frame"] for shape in sequence] == [1, 2, 4]
    # The box of frame 2 is not kept in frame 3, in which the cat is missing.
    assert [shape["enabled"] for shape in sequence] == [True, False, False]
    assert [shape["time"] for shape in sequence] == pytest.approx([0, 0.1, 0.3])
    shape = sequence[1]
    box = [shape[key] for key in ("x", "y", "width", "height")]
    assert box == pytest.approx([100 * 2 / 64, 100 * 3 / 48, 100 * 10.5 / 64, 100 * 10 / 48])
    assert [shape["enabled"] for shape in regions["track_7_1"]["value"]["sequence"]] == [True, True, False]


@pytest.mark.parametrize(("form", "out"), FORMS)
def test_boxes_come_back(clip: Path, form: str, out: str) -> None:
    """Every box comes back, and nothing between: track 3 is missing in frame 2, and frame 4 is empty."""
    assert export(clip, form, out) == 0
    found = read(clip / out)
    assert rows_of(found) == expected_rows()
    assert found.number.tolist() == list(range(FRAMES))
    assert (found.videos, found.sources) == (("clip.mp4",), ("clip.mp4",))
    assert found.classes == ("cat", "dog")
    assert found.generated.any() == (form == "csv")  # Label Studio's keyframes do not tell
    assert [round(read_frame(found, frame).mean() / 20) for frame in range(FRAMES)] == list(range(FRAMES))
    if form == "csv":
        assert found.tracks.tolist() == [row[2] for row in ROWS]
    else:
        assert set(zip(found.width.tolist(), found.height.tolist(), strict=True)) == {(WIDTH, HEIGHT)}


@pytest.mark.parametrize(("form", "out"), FORMS)
def test_frames_that_were_not_exported_are_not_labeled(clip: Path, form: str, out: str) -> None:
    """Frames 0, 3 and 6 are exported: track 3 is in the first two, and nothing is put between them."""
    assert export(clip, form, out, "--every", 3) == 0
    found = read(clip / out)
    assert found.number.tolist() == [0, 3, 6]
    assert rows_of(found) == expected_rows(tuple(row for row in ROWS if row[0] in {0, 3, 6}))
    assert export(clip, form, f"some_{out}", "--every", 2) == 0
    found = read(clip / f"some_{out}")
    assert found.number.tolist() == [0, 2, 4, 6]
    assert rows_of(found) == expected_rows((ROWS[0], ROWS[5]))


@pytest.mark.parametrize(("form", "out"), FORMS)
def test_frames_whose_boxes_are_below_the_threshold_are_empty(clip: Path, form: str, out: str) -> None:
    assert export(clip, form, out, "--score-threshold", 0.75) == 0
    found = read(clip / out)
    assert found.number.tolist() == list(range(FRAMES))
    assert rows_of(found) == expected_rows(tuple(row for row in ROWS if row[3] >= 0.75))
    assert len(found.boxes) == 3


@pytest.mark.parametrize(("form", "out"), FORMS)
def test_a_video_of_one_frame(tmp_path: Path, form: str, out: str) -> None:
    write_video(tmp_path / "clip.mp4", images()[:1], Fraction(10))
    writer = PredictionWriter(tmp_path / "p.parquet", metadata={})
    add_clip(writer, "clip.mp4", every=FRAMES)
    writer.close()
    assert export(tmp_path, form, out) == 0
    found = read(tmp_path / out)
    assert found.number.tolist() == [0]
    assert rows_of(found) == expected_rows(ROWS[:1])


@pytest.mark.parametrize(("form", "out"), FORMS)
def test_several_videos(tmp_path: Path, form: str, out: str) -> None:
    """Two videos of the same name are in different folders, and the last video has no boxes."""
    names = ("a/pond.mp4", "b/pond.mp4", "river.mp4")
    writer = PredictionWriter(tmp_path / "p.parquet", metadata={})
    for name, rows in zip(names, (ROWS, ROWS[3:], ()), strict=True):
        (tmp_path / "videos" / name).parent.mkdir(parents=True, exist_ok=True)
        write_video(tmp_path / "videos" / name, images(), Fraction(10))
        add_clip(writer, name, rows=rows)
    writer.close()
    assert export(tmp_path, form, out) == 0
    found = read(tmp_path / out, images=tmp_path / "videos")
    assert found.videos == found.sources == names
    assert found.frames_per_video.tolist() == [FRAMES] * 3
    assert rows_of(found, video=0) == expected_rows()
    assert rows_of(found, video=1) == expected_rows(ROWS[3:])
    assert rows_of(found, video=2) == []


def test_images_come_back_from_csv(tmp_path: Path) -> None:
    """Without --video, the predictions do not name the images of frames without boxes, which are left out."""
    (tmp_path / "clip").mkdir()
    for number, image in enumerate(images()):
        PIL.Image.fromarray(image).save(tmp_path / "clip" / f"img{number}.png")
    write_clip(tmp_path / "p.parquet", video="clip", files=True)
    assert export(tmp_path, "csv", "some.csv") == 0
    assert export(tmp_path, "csv", "all.csv", "--video", tmp_path / "clip") == 0
    some, every = read(tmp_path / "some.csv"), read(tmp_path / "all.csv")
    assert some.number.tolist() == [0, 1, 3, 5, 6, 7]
    assert every.number.tolist() == list(range(FRAMES))
    for found in (some, every):
        assert rows_of(found) == expected_rows()
        files = [(found.root / file).resolve() for file in found.files.to_pylist()]
        assert files == [tmp_path / "clip" / f"img{number}.png" for number in found.number.tolist()]


@pytest.mark.parametrize(("form", "out"), FORMS)
def test_what_comes_back_is_checked_and_indexed(
    clip: Path, form: str, out: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(clip, form, out) == 0
    assert main(["data", "check", str(clip / out)]) == 0
    assert "1 videos, 8 frames, 7 boxes:" in capsys.readouterr().out
    assert main(["data", "index", str(clip / out), "-o", str(clip / "index")]) == 0
    found = read(clip / "index" / "out.parquet")
    assert (found.classes, len(found.boxes)) == (("cat", "dog"), 7)


@pytest.mark.parametrize(("form", "out"), FORMS)
def test_a_data_set_is_exported_the_same_way(clip: Path, form: str, out: str) -> None:
    assert export(clip, "coco", "set.json") == 0
    assert main(["data", "export", str(clip / "set.json"), "--as", form, "-o", str(clip / out)]) == 0
    assert rows_of(read(clip / out)) == expected_rows()


def corrected(clip: Path, **changes: Any) -> Path:
    """Export to Label Studio, and turn the prediction into an annotation, as accepting it does."""
    assert export(clip, "labelstudio", "tasks.json") == 0
    [task] = json.loads((clip / "tasks.json").read_text())
    [prediction] = task["predictions"]
    for region in prediction["result"]:
        region["value"] |= {"framesCount": FRAMES, "duration": 0.8}
    annotation = {"id": 7, "was_cancelled": False, "result": prediction["result"]}
    (clip / "labels.json").write_text(json.dumps([{**task, "annotations": [annotation], **changes}]))
    return clip / "labels.json"


def test_predictions_without_annotations_are_read_with_a_warning(
    clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "stats", str(corrected(clip))]) == 0
    assert "warning" not in capsys.readouterr().err
    assert main(["data", "stats", str(clip / "tasks.json")]) == 0
    assert "tasks.json: has no annotations: its predictions are read" in capsys.readouterr().err


def test_a_box_that_a_person_adds_in_another_frame_is_reported(clip: Path) -> None:
    """Frames 0, 2, 4 and 6 were exported, and somebody drew a box in frame 3, which is the fourth."""
    assert export(clip, "labelstudio", "tasks.json", "--every", 2) == 0
    [task] = json.loads((clip / "tasks.json").read_text())
    sequence = task["predictions"][0]["result"][0]["value"]["sequence"]
    sequence.append({**sequence[0], "frame": 4})
    (clip / "tasks.json").write_text(json.dumps([task]))
    problems = Problems()
    found = open_annotations(Source(path=clip / "tasks.json"), problems=problems)
    assert found.number.tolist() == [0, 2, 4, 6]
    assert any("1 frames with keyframes, such as 3, are not read" in text for text in problems.warnings)
    del task["data"]["megavid_frames"]
    (clip / "tasks.json").write_text(json.dumps([task]))
    assert read(clip / "tasks.json").number.tolist() == list(range(FRAMES))


def test_labels_at_another_frame_rate_are_refused(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Label Studio counts 24 frames per second if its configuration does not say otherwise."""
    path = corrected(clip)
    path.write_text(path.read_text().replace('"framesCount": 8', '"framesCount": 19'))
    assert main(["data", "stats", str(path)]) == 2
    assert "was labeled with 19 frames in 0.8 s, but clip.mp4 has 10 frames per second" in error_of(capsys)
