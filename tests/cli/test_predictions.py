"""`megavid predictions to`: exports in all formats, read back."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow.parquet as pq
import pytest

from megavid.evaluation.formats.parquet_schema import METADATA_KEY, read_metadata
from megavid.evaluation.formats.parquet_writer import PredictionWriter
from tests.cli.exported_clip import expected_rows, export, images, read, rows_of
from tests.cli.helpers import error_of, write_video
from tests.evaluation.predicted_clip import FRAMES, HEIGHT, ROWS, WIDTH, add_clip, write_clip
from tests.evaluation.prediction_tables import frame_result


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Write the video and its predictions; return the folder of both."""
    write_video(tmp_path / "clip.mp4", images(), Fraction(10))
    write_clip(tmp_path / "p.parquet")
    return tmp_path


@pytest.mark.parametrize(
    ("form", "out", "options"),
    [
        ("cvat", "out", ()),
        ("coco", "out.json", ()),
        ("mot", "out", ()),
        ("yolo", "out", ("--video", "clip.mp4", "--tracks")),
    ],
)
def test_annotation_formats_are_read_back(
    clip: Path, form: str, out: str, options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(clip)
    assert export(clip, form, out, *options) == 0
    found = read(clip / out, **({} if form in {"yolo", "mot"} else {"images": clip}))
    assert rows_of(found) == expected_rows()
    assert found.classes == ("cat", "dog")
    assert found.number.tolist() == list(range(FRAMES))
    assert {(w, h) for w, h in zip(found.width, found.height, strict=True)} == {(WIDTH, HEIGHT)}
    assert found.videos[0] in {"clip", "clip.mp4"}
    if form in {"cvat", "coco"}:
        assert found.sources == ("clip.mp4",)


def test_coco_has_scores(clip: Path) -> None:
    assert export(clip, "coco", "out.json") == 0
    content = json.loads((clip / "out.json").read_text())
    assert [row["score"] for row in content["annotations"]] == pytest.approx([row[3] for row in ROWS])
    assert [row["generated"] for row in content["annotations"]] == [row[3] == 0.6 for row in ROWS]
    assert [row.get("instance_id", -1) for row in content["annotations"]] == [row[2] for row in ROWS]
    assert content["images"][2]["file_name"] == "clip.mp4/000002.jpg"


def test_boxes_and_frames_are_selected(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--classes", "dog", "--score-threshold", "0.5", "--every", "2")
    assert export(clip, "coco", "out.json", *options) == 0
    assert "1 videos, 4 frames, 1 boxes, 1 tracks" in capsys.readouterr().out
    found = read(clip / "out.json")
    assert found.classes == ("dog",)
    assert found.number.tolist() == [0, 2, 4, 6]
    assert rows_of(found) == [(6, "dog", (6, (21, 20, 37, 28)), (21, 20, 37, 28))]


def test_classes_are_numbered_as_chosen(clip: Path) -> None:
    assert export(clip, "mot", "out", "--classes", "dog,cat") == 0
    assert (clip / "out" / "clip.mp4" / "gt" / "labels.txt").read_text() == "dog\ncat\n"
    assert rows_of(read(clip / "out")) == expected_rows()


def test_classes_of_the_same_name_are_refused(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    about = {**read_metadata(clip / "p.parquet"), "classes": ["cat", "cat"]}
    table = pq.read_table(clip / "p.parquet").replace_schema_metadata({METADATA_KEY: json.dumps(about)})
    pq.write_table(table, clip / "same.parquet")
    assert export(clip, "csv", "out.csv", source="same.parquet") == 2
    assert "same.parquet: expected a different name for each class, got 'cat' twice" in error_of(capsys)


def test_every_nth_frame_of_those_processed(clip: Path) -> None:
    """Frames 0, 2, 4 and 6 were processed; of these, every second one is exported, with its own number."""
    write_clip(clip / "sparse.parquet", every=2)
    assert export(clip, "csv", "all.csv", source="sparse.parquet") == 0
    assert export(clip, "cvat", "out", "--every", 2, source="sparse.parquet") == 0
    frames = [line.split(",")[1] for line in (clip / "all.csv").read_text().splitlines()]
    assert frames == ["frame", "0", "2", "4", "6"]
    xml = (clip / "out" / "clip.xml").read_text()
    assert "<frame_filter>step=4</frame_filter>" in xml
    assert "<stop_frame>4</stop_frame>" in xml
    assert read(clip / "out", images=clip).number.tolist() == [0, 4]


def test_several_videos(tmp_path: Path) -> None:
    writer = PredictionWriter(tmp_path / "p.parquet", metadata={})
    for name in ("a.mp4", "b.mp4"):
        add_clip(writer, name)
    add_clip(writer, "c.mp4", rows=())
    writer.close()
    (tmp_path / "videos").mkdir()
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        write_video(tmp_path / "videos" / name, images(), Fraction(10))
    assert export(tmp_path, "cvat", "cvat") == 0
    assert sorted(path.name for path in (tmp_path / "cvat").iterdir()) == ["a.xml", "b.xml", "c.xml"]
    assert export(tmp_path, "mot", "mot") == 0
    assert export(tmp_path, "coco", "coco.json") == 0
    assert export(tmp_path, "yolo", "yolo", "--video", tmp_path / "videos", "--tracks") == 0
    for found in (
        read(tmp_path / "cvat", images=tmp_path / "videos"),
        read(tmp_path / "mot"),
        read(tmp_path / "coco.json"),
        read(tmp_path / "yolo"),
    ):
        assert len(found.videos) == 3
        assert [rows_of(found, video=v) for v in range(3)] == [expected_rows(), expected_rows(), []]
    assert export(tmp_path, "labelstudio", "tasks.json") == 0
    tasks = json.loads((tmp_path / "tasks.json").read_text())
    assert [task["data"]["video"] for task in tasks] == ["a.mp4", "b.mp4", "c.mp4"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write a folder of images and its predictions; return the folder of both."""
    (tmp_path / "clip").mkdir()
    for number, image in enumerate(images()):
        PIL.Image.fromarray(image).save(tmp_path / "clip" / f"img{number}.png")
    write_clip(tmp_path / "p.parquet", video="clip", files=True)
    return tmp_path


@pytest.mark.parametrize(("form", "out"), [("coco", "out.json"), ("yolo", "out")])
def test_images_are_named(folder: Path, form: str, out: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert export(folder, form, out) == 2
    lacking = "the names of all images" if form == "coco" else "the images"
    assert f"lacks {lacking} of video 'clip', which {form} needs; --video" in error_of(capsys)
    assert not (folder / out).exists()
    assert export(folder, form, out, "--video", folder / "clip") == 0
    found = read(folder / out, **({"images": folder / "clip"} if form == "coco" else {}))
    assert rows_of(found)[0][:2] == (0, "cat")
    files = [found.root / file for file in found.files.to_pylist()]
    assert [file.resolve() for file in files] == [folder / "clip" / f"img{n}.png" for n in range(FRAMES)]


def test_images_in_another_order_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "clip" / "img00.png").write_bytes((folder / "clip" / "img0.png").read_bytes())
    (folder / "clip" / "img0.png").unlink()
    assert export(folder, "yolo", "out", "--video", folder / "clip") == 2
    assert "clip: expected img0.png as frame 0, as in its predictions, got img00.png" in error_of(capsys)


def test_images_that_are_numbered_by_their_names(folder: Path) -> None:
    """A data set may number frames by the names of images, as here from 3, and not by their order."""
    for number in reversed(range(FRAMES)):
        (folder / "clip" / f"img{number}.png").rename(folder / "clip" / f"img{number + 3}.png")
    writer = PredictionWriter(folder / "p.parquet", metadata={})
    writer.set_size("clip", width=WIDTH, height=HEIGHT)
    for number in range(3, FRAMES + 3):
        writer.write("clip", frame_result(number, (0, 0.5, 1, 2, 3, 4)), file=f"clip/img{number}.png")
    writer.close()
    assert export(folder, "yolo", "out", "--video", folder / "clip") == 0
    links = {path.stem: path.resolve().name for path in (folder / "out" / "images" / "clip").iterdir()}
    assert links == {f"{n:06d}": f"img{n}.png" for n in range(3, FRAMES + 3)}


def early_file(folder: Path) -> Path:
    """Write a predictions file as early versions did, without sizes and frame numbers."""
    path = folder / "early.parquet"
    about = read_metadata(write_clip(path))
    table = pq.read_table(path)
    del about["video_info"]
    pq.write_table(table.replace_schema_metadata({METADATA_KEY: json.dumps(about)}), path)
    return path


def test_sizes_come_from_the_video_if_the_predictions_lack_them(
    clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = early_file(clip).name
    assert export(clip, "cvat", "out", source=source) == 2
    assert "lacks the size of video 'clip.mp4', which cvat needs; --video gives" in error_of(capsys)
    assert export(clip, "cvat", "out", "--video", clip / "clip.mp4", source=source) == 0
    assert "<width>64</width>" in (clip / "out" / "clip.xml").read_text()
    assert rows_of(read(clip / "out", images=clip)) == expected_rows()
    assert export(clip, "mot", "mot", source=source) == 0  # sizes are optional there
    assert rows_of(read(clip / "mot")) == expected_rows()


def test_mistakes_are_explained(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def error(form: str, out: str, *options: object, source: str = "p.parquet") -> str:
        assert export(clip, form, out, *options, source=source) == 2
        return error_of(capsys)

    assert "out.txt: expected a name that ends in .json" in error("coco", "out.txt")
    assert "none.parquet: no such file" in error("csv", "out.csv", source="none.parquet")
    assert "clip.mp4: expected a name that ends in .parquet" in error("csv", "out.csv", source="clip.mp4")
    assert "--classes: expected some of cat, dog, got 'Dog'; 'dog' differs" in error(
        "csv", "out.csv", "--classes", "Dog"
    )
    assert "--tracks: expected --as yolo, got csv" in error("csv", "out.csv", "--tracks")
    assert "--address: expected --as labelstudio" in error("csv", "out.csv", "--address", "x")
    assert "score_threshold: expected" in error("csv", "out.csv", "--score-threshold", 2)
    assert "every: expected" in error("csv", "out.csv", "--every", 0)
    assert "none.mp4: no such file or folder" in error("csv", "out.csv", "--video", clip / "none.mp4")
    assert "expected all frames from 0 to 6, since MOT" in error("mot", "out", "--every", 2)
    (clip / "taken").mkdir()
    (clip / "taken" / "mine.txt").write_text("mine")
    assert "taken: expected a new or empty folder" in error("cvat", "taken")
    (clip / "mine.csv").write_text("mine")
    assert "mine.csv: exists already" in error("csv", "mine.csv")
    write_video(clip / "large.mp4", [np.zeros((96, 128, 3), np.uint8)] * FRAMES)
    assert "large.mp4: expected frames of 64x48, as in its predictions, got 128x96" in error(
        "csv", "out.csv", "--video", clip / "large.mp4"
    )
    write_video(clip / "short.mp4", images()[:5])
    assert "short.mp4: has 5 frames, but the predictions of 'clip.mp4' have frame 7" in error(
        "csv", "out.csv", "--video", clip / "short.mp4"
    )
    write_clip(clip / "up.parquet", video="../up.mp4")
    (clip / "folder").mkdir()
    assert "'../up.mp4': expected the name of a file within" in error(
        "csv", "out.csv", "--video", clip / "folder", source="up.parquet"
    )
    write_clip(clip / "two.parquet", rows=(ROWS[0], (*ROWS[0][:4], 30, 30, 40, 40)))
    assert "got several of track 3 in video 'clip.mp4', frame 0" in error(
        "csv", "out.csv", source="two.parquet"
    )
    assert not {"out", "out.csv", "out.txt"} & {path.name for path in clip.iterdir()}


def test_a_track_has_its_best_class_in_each_frame(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Linkers write a box of an object for each class; boxes without a track are not joined."""
    others = [(frame, 1 - label, track, score / 2, *box) for frame, label, track, score, *box in ROWS]
    write_clip(clip / "two.parquet", rows=(*ROWS, *others))  # type: ignore[arg-type]
    assert export(clip, "cvat", "out", source="two.parquet") == 0
    assert "without 6 boxes of less likely classes of tracks" in capsys.readouterr().out
    rows = rows_of(read(clip / "out", images=clip))
    assert [row for row in rows if row[:2] != (1, "cat") or row[3] != (30, 5, 40, 25)] == expected_rows()
    assert export(clip, "coco", "out.json", "--classes", "dog", source="two.parquet") == 0
    content = json.loads((clip / "out.json").read_text())
    dogs = sorted(row[3] if row[1] == 1 else row[3] / 2 for row in ROWS)
    assert sorted(row["score"] for row in content["annotations"]) == pytest.approx(dogs)


def test_boxes_without_area_are_left_out(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_clip(clip / "flat.parquet", rows=(*ROWS, (4, 0, 9, 0.5, 3, 3, 3, 9)))
    assert export(clip, "mot", "out", source="flat.parquet") == 0
    assert "without 1 boxes that have no area" in capsys.readouterr().out
    assert rows_of(read(clip / "out")) == expected_rows()


def test_videos_of_the_same_name_in_different_folders(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each video is found in its own folder, and never by the name of the other one."""
    writer = PredictionWriter(tmp_path / "p.parquet", metadata={})
    for name in ("a/pond.mp4", "b/pond.mp4"):
        add_clip(writer, name, size=False)
    writer.close()
    for place in ("videos", "videos/a"):
        (tmp_path / place).mkdir()
        write_video(tmp_path / place / "pond.mp4", images(), Fraction(10))
    assert export(tmp_path, "coco", "out.json", "--video", tmp_path / "videos") == 2
    assert "video 'b/pond.mp4': no images found" in error_of(capsys)
    (tmp_path / "videos" / "b").mkdir()
    (tmp_path / "videos" / "pond.mp4").rename(tmp_path / "videos" / "b" / "pond.mp4")
    assert export(tmp_path, "coco", "out.json", "--video", tmp_path / "videos") == 0
    assert read(tmp_path / "out.json").sources == ("a/pond.mp4", "b/pond.mp4")


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"videos": {"clip.mp4": 10**12}, "video_info": {}}, "at most 5000000 frames, got 1000000000000"),
        ({"videos": {str(n): 4_000_000 for n in range(9)}}, "at most 5000000 frames in all videos"),
        ({"every": 2**40}, "every: "),
        (
            {
                "videos": {str(n): 1 for n in range(9)},
                "video_info": {str(n): {"frame_numbers": [[0, 3_999_999, 1]]} for n in range(9)},
            },
            "at most 5000000 frames in all videos",
        ),
    ],
)
def test_claims_of_many_frames_are_refused(
    clip: Path, about: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    known = read_metadata(clip / "p.parquet")
    table = pq.read_table(clip / "p.parquet").replace_schema_metadata(
        {METADATA_KEY: json.dumps(known | about)}
    )
    pq.write_table(table, clip / "many.parquet")
    assert export(clip, "csv", "out.csv", source="many.parquet") == 2
    assert message in error_of(capsys)
