"""Commands with saved boxes in place of a detector."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from megavid.cli import main
from megavid.linking.linkers import LINKERS
from megavid.video.video_file import VideoFile
from tests.cli.conftest import MakeFrames
from tests.cli.helpers import error_of, read_predictions, write_video
from tests.training.small_run import write_videos
from tests.video.videos import damage, make_video, serve


@pytest.fixture
def clip(tmp_path: Path, make_frames: MakeFrames) -> Path:
    """Write a video of six frames of 96x64 pixels."""
    return write_video(tmp_path / "clip.mp4", make_frames(6))


@pytest.fixture
def boxes(tmp_path: Path) -> Path:
    """Write MOT's `det.txt` with a fox that moves right; frame 4 has no box, and frame 3 a hare, too."""
    lines = [f"{i},-1,{5 * i},9,20,20,0.{9 - i},1" for i in (1, 2, 3, 5, 6)]
    path = tmp_path / "det.txt"
    path.write_text("\n".join([*lines, "3,-1,60,30,10,10,0.95,2", ""]))
    return path


NAMES = ["--method.class_names", "[fox, hare]"]


def detect(video: Path, boxes: Path, out: Path, *options: str) -> int:
    line = ["detect", str(video), "--detector", f"boxes:{boxes}", "--score-threshold", "0", "-o", str(out)]
    return main([*line, *options])


def found(out: Path) -> list[tuple[int, str, float, list[float]]]:
    """Return the frame, class, score and box of each row of the predictions."""
    rows, _ = read_predictions(out / "predictions.parquet")
    corners = ("x1", "y1", "x2", "y2")
    return [
        (r["frame"], r["class_name"], round(r["score"], 4), [round(r[c], 3) for c in corners]) for r in rows
    ]


def test_boxes_of_mot(clip: Path, boxes: Path, tmp_path: Path) -> None:
    assert detect(clip, boxes, tmp_path / "out", *NAMES) == 0
    assert found(tmp_path / "out") == [
        (0, "fox", 0.8, [4, 8, 24, 28]),
        (1, "fox", 0.7, [9, 8, 29, 28]),
        (2, "hare", 0.95, [59, 29, 69, 39]),
        (2, "fox", 0.6, [14, 8, 34, 28]),
        (4, "fox", 0.4, [24, 8, 44, 28]),
        (5, "fox", 0.3, [29, 8, 49, 28]),
    ]
    _, metadata = read_predictions(tmp_path / "out" / "predictions.parquet")
    assert metadata["architecture"] == "saved boxes"
    assert metadata["config"]["method"] == {
        "name": "boxes",
        "file": str(boxes),
        "video": None,
        "class_names": ["fox", "hare"],
        "data": None,
        "first_frame": None,
        "score_threshold": 0.0,
    }
    assert metadata["frames"] == 6
    assert (tmp_path / "out" / "annotated.mp4").is_file()


def test_every_nth_frame_has_its_own_boxes(clip: Path, boxes: Path, tmp_path: Path) -> None:
    assert detect(clip, boxes, tmp_path / "out", *NAMES, "--every", "2", "--batch-size", "2") == 0
    assert [row[:3] for row in found(tmp_path / "out")] == [
        (0, "fox", 0.8),
        (2, "hare", 0.95),
        (2, "fox", 0.6),
        (4, "fox", 0.4),
    ]
    # Its predictions are of every second frame: all frames are more than they have.
    saved = tmp_path / "out" / "predictions.parquet"
    assert detect(clip, saved, tmp_path / "again", "--every", "2") == 0
    assert found(tmp_path / "again") == found(tmp_path / "out")
    assert detect(clip, saved, tmp_path / "again", "--every", "4") == 0
    assert [row[0] for row in found(tmp_path / "again")] == [0, 4]


def test_frames_that_were_not_detected_are_refused(
    clip: Path, boxes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert detect(clip, boxes, tmp_path / "out", *NAMES, "--every", "2") == 0
    capsys.readouterr()
    assert detect(clip, tmp_path / "out" / "predictions.parquet", tmp_path / "again") == 2
    assert "has no results for frame 1 of the video, only for 3 frames from 0 to 4; --every" in error_of(
        capsys
    )
    assert not (tmp_path / "again" / "predictions.parquet").exists()


def test_a_lost_frame_does_not_shift_the_boxes_of_others(tmp_path: Path) -> None:
    video = tmp_path / "clip.mov"
    make_video(video, 12, codec="png", pix_fmt="rgb24")
    damage(video, [4])
    with VideoFile(video) as opened:
        present = [frame.index for frame in opened]
    assert present == [0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11]
    path = tmp_path / "det.txt"
    path.write_text("".join(f"{i + 1},-1,1,1,{i + 1},9,0.5\n" for i in range(12)))
    assert detect(video, path, tmp_path / "out", "--method.class_names", "[fox]") == 0
    widths = {frame: box[2] for frame, _, _, box in found(tmp_path / "out")}
    assert widths == {i: i + 1 for i in present}
    saved = tmp_path / "out" / "predictions.parquet"
    assert detect(video, saved, tmp_path / "again") == 0
    assert found(tmp_path / "again") == found(tmp_path / "out")


@pytest.mark.parametrize("min_score", ["0.001", "0.4"])  # 0.4 is exactly the score of a box
@pytest.mark.parametrize("linker", LINKERS)
def test_linked_boxes_are_those_of_megavid_link(
    linker: str, min_score: str, clip: Path, boxes: Path, tmp_path: Path
) -> None:
    assert detect(clip, boxes, tmp_path / "out", *NAMES) == 0
    saved = tmp_path / "out" / "predictions.parquet"
    linked, lowest = tmp_path / "linked.parquet", ["--link.min-score", min_score]
    assert main(["link", str(saved), "--method", linker, *lowest, "-o", str(linked)]) == 0
    assert detect(clip, boxes, tmp_path / "one", *NAMES, "--link", linker, *lowest) == 0
    assert detect(clip, saved, tmp_path / "two", "--link", linker, *lowest) == 0
    expected = pq.read_table(linked).to_pylist()
    assert len(expected) > 0
    for out in ("one", "two"):
        assert pq.read_table(tmp_path / out / "predictions.parquet").to_pylist() == expected


def test_one_video_of_several_and_the_classes_of_interest(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    about: dict[str, Any] = {
        "videos": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
        "categories": [{"id": 17, "name": "cat"}, {"id": 18, "name": "dog"}],
        "images": [
            {"id": 10 * v + i, "video_id": v, "frame_id": i, "file_name": f"{v}/{i}.jpg"}
            for v in (1, 2)
            for i in range(6)
        ],
        "annotations": [],
    }
    (tmp_path / "data.json").write_text(json.dumps(about))
    results = [
        {"image_id": 13, "category_id": 17, "bbox": [1, 2, 3, 4], "score": 0.75},
        {"image_id": 23, "category_id": 18, "bbox": [5, 6, 7, 8], "score": 0.5},
        {"image_id": 25, "category_id": 17, "bbox": [5, 6, 7, 8], "score": 0.25},
    ]
    (tmp_path / "results.json").write_text(json.dumps(results))
    path, data = tmp_path / "results.json", ["--method.data", str(tmp_path / "data.json")]
    assert detect(clip, path, tmp_path / "out", *data, "--method.video", "b", "--classes", "dog") == 0
    assert found(tmp_path / "out") == [(3, "dog", 0.5, [5, 6, 12, 14])]
    capsys.readouterr()
    assert detect(clip, path, tmp_path / "out", *data) == 2
    assert "data.json: has 2 videos; method.video names one of a, b" in error_of(capsys)
    assert detect(clip, path, tmp_path / "out") == 2
    assert "results.json: refers to images and classes of a data set" in error_of(capsys)
    assert detect(clip, path, tmp_path / "out", *data, "--method.video", "b", "--classes", "fox") == 2
    assert "'fox' is not one of the detector's: cat, dog" in error_of(capsys)


def test_a_video_of_one_frame(tmp_path: Path, boxes: Path, make_frames: MakeFrames) -> None:
    video = write_video(tmp_path / "one.mp4", make_frames(1))
    boxes.write_text("1,-1,5,9,20,20,0.9\n")
    assert detect(video, boxes, tmp_path / "out", "--method.class_names", "[fox]", "--link", "repp") == 0
    assert found(tmp_path / "out") == [(0, "fox", 0.9, [4, 8, 24, 28])]


def test_exported_boxes_come_back(clip: Path, boxes: Path, tmp_path: Path) -> None:
    assert detect(clip, boxes, tmp_path / "out", *NAMES) == 0
    saved, exported = tmp_path / "out" / "predictions.parquet", tmp_path / "x.json"
    assert main(["predictions", "to", str(exported), str(saved), "--as", "coco"]) == 0
    assert detect(clip, exported, tmp_path / "again") == 0
    assert sorted(found(tmp_path / "again")) == sorted(found(tmp_path / "out"))


def test_images_with_other_names_are_refused(
    tmp_path: Path, make_frames: MakeFrames, capsys: pytest.CaptureFixture[str]
) -> None:
    def write_folder(name: str, *images: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for image, frame in zip(images, make_frames(3), strict=True):
            Image.fromarray(frame).save(folder / image)
        return folder

    folder = write_folder("a", "8.png", "9.png", "10.png")
    about = {
        "images": [{"id": i, "file_name": f"photos/{i}.png"} for i in (10, 9, 8)],
        "categories": [{"id": 1, "name": "fox"}],
        "annotations": [{"image_id": 9, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}],
    }
    coco = tmp_path / "coco.json"
    coco.write_text(json.dumps(about))
    assert detect(folder, coco, tmp_path / "out") == 0
    assert found(tmp_path / "out") == [(1, "fox", 0.5, [1, 2, 4, 6])]
    saved = tmp_path / "out" / "predictions.parquet"
    assert detect(folder, saved, tmp_path / "again") == 0
    other = write_folder("b", "8.png", "10.png", "11.png")  # the second image was removed
    for boxes in (coco, saved):
        capsys.readouterr()
        assert detect(other, boxes, tmp_path / "other") == 2
        message = f"{boxes.name}: is for a video with 9.png as frame 1, counted from 0, got 10.png"
        assert message in error_of(capsys)
    assert not (tmp_path / "other").exists()


def test_mistakes_are_explained(
    clip: Path, boxes: Path, tmp_path: Path, make_frames: MakeFrames, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    short = write_video(tmp_path / "short.mp4", make_frames(3))
    for video, options, message in (
        (clip, [], "det.txt: does not name its classes; method.class_names does"),
        (clip, ["--method.class_names", "[fox]"], "det.txt, line 6: expected a class from 1 to 1"),
        (short, NAMES, "det.txt: has frame 5, counted from 0; the video has 3 frames"),
        (clip, [*NAMES, "--dtype", "bfloat16"], "expected float32 for saved boxes"),
        (clip, [*NAMES, "--weights", "x.pth"], "expected no weights for saved boxes"),
        (clip, [*NAMES, "--method.vidoe", "a"], "method.vidoe: unknown key"),
    ):
        assert detect(video, boxes, out, *options) == 2, options
        assert message in error_of(capsys)
    boxes.write_text("1,-1,5,9,20,20,90\n")
    assert detect(clip, boxes, out, "--method.class_names", "[fox]") == 2
    assert "det.txt, line 1: expected a score from 0 to 1, got 90" in error_of(capsys)
    assert not out.exists()


def test_live_streams_are_refused(boxes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = io.BytesIO()
    make_video(data, 12, format="mpegts")
    with serve(data.getvalue()) as address:
        line = ["detect", address, "--detector", f"boxes:{boxes}", *NAMES, "-o", str(tmp_path / "out")]
        assert main(line) == 2
    assert "det.txt: saved boxes belong to a recorded video, got a live stream" in error_of(capsys)
    assert not (tmp_path / "out").exists()


def test_saved_boxes_are_neither_evaluated_nor_measured(
    boxes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = str(write_videos(tmp_path / "set", videos=1, frames=3))
    options = ["--detector", f"boxes:{boxes}", *NAMES]
    assert main(["evaluate", "--data", data, *options, "-o", str(tmp_path / "eval")]) == 2
    assert "megavid score scores saved predictions" in error_of(capsys)
    assert main(["benchmark", *options, "--frames", "1", "--height", "48", "--width", "64"]) == 2
    assert "saved boxes: expected a detector that computes" in error_of(capsys)
