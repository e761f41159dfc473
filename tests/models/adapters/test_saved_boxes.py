"""Saved boxes as a detector: which boxes a frame gets, and which videos are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from megavid import Frame, Inference, InputError, VideoSession, detect_video, load_detector
from megavid.core.detections import FrameResult
from megavid.core.frames import Image
from megavid.evaluation.formats.parquet_writer import PredictionWriter
from megavid.models.base.video_detector import VideoDetector
from tests.evaluation.prediction_tables import frame_result

MakeFrames = Callable[[int], list[Image]]


def load(tmp_path: Path, text: str, **method: Any) -> VideoDetector:
    (tmp_path / "det.txt").write_text(text)
    settings = {"class_names": ["fox"], **method}
    overrides = {f"method.{name}": value for name, value in settings.items()}
    return load_detector(f"boxes:{tmp_path / 'det.txt'}", overrides=overrides)


def load_parquet(path: Path, *results: FrameResult, size: tuple[int, int] = (96, 64)) -> VideoDetector:
    writer = PredictionWriter(path, metadata={})
    for result in results:
        writer.write("a", result)
    writer.set_size("a", width=size[0], height=size[1])
    writer.close()
    return load_detector(f"boxes:{path}")


def scores(results: list[FrameResult]) -> dict[int, list[float]]:
    return {result.index: result.detections.scores.tolist() for result in results}


def test_frames_get_their_boxes_in_order_of_scores_and_clipped(
    tmp_path: Path, make_frames: MakeFrames
) -> None:
    text = "3,-1,11,21,30,40,0.25\n1,-1,-3,1,9,99,0.5\n3,-1,11,21,200,10,0.75\n"
    results = list(detect_video(load(tmp_path, text), make_frames(4), batch_size=3))
    assert scores(results) == {0: [0.5], 1: [], 2: [0.75, 0.25], 3: []}
    assert results[0].detections.boxes.tolist() == [[0, 0, 5, 64]]
    assert results[2].detections.boxes.tolist() == [[10, 20, 96, 30], [10, 20, 40, 60]]
    assert results[2].detections.class_names == ("fox",)


def test_a_frame_is_found_by_its_number_and_not_by_its_place(tmp_path: Path, make_frames: MakeFrames) -> None:
    text = "".join(f"{frame},-1,1,1,9,9,{frame / 8}\n" for frame in range(1, 8))
    detector = load(tmp_path, text)
    session = VideoSession(detector)
    pushed = [Frame(i, i / 25, frame) for i, frame in zip((0, 2, 3, 6), make_frames(4), strict=True)]
    results = [result for frame in pushed for result in session.push(frame)]
    assert scores(results) == {0: [1 / 8], 2: [3 / 8], 3: [4 / 8], 6: [7 / 8]}
    session = VideoSession(detector, every=3)
    results = [result for frame in make_frames(3) for result in session.push(frame)]
    assert scores(results) == {0: [1 / 8], 3: [4 / 8], 6: [7 / 8]}


def test_class_scores_are_kept(tmp_path: Path, make_frames: MakeFrames) -> None:
    one = frame_result(0, (0, 0.5, 1, 2, 3, 4), (1, 0.75, 5, 6, 7, 8))
    classes = np.array([[0.5, 0.25], [0.125, 0.75]], np.float32)
    object.__setattr__(one.detections, "class_scores", one.detections.boxes.new_tensor(classes))
    [result] = detect_video(load_parquet(tmp_path / "p.parquet", one), make_frames(1))
    assert result.detections.class_scores is not None
    assert result.detections.class_scores.tolist() == [[0.125, 0.75], [0.5, 0.25]]
    assert result.detections.labels.tolist() == [1, 0]


def test_a_frame_that_was_not_detected_is_no_empty_frame(tmp_path: Path, make_frames: MakeFrames) -> None:
    frames = make_frames(3)
    detector = load_parquet(tmp_path / "p.parquet", *(frame_result(i) for i in (0, 2)))
    with pytest.raises(
        InputError, match=r"has no results for frame 1 .*, only for 2 frames from 0 to 2; --eve"
    ):
        list(detect_video(detector, frames))
    session = VideoSession(detector, every=2)
    assert [len(session.push(frame)[0].detections) for frame in frames[:2]] == [0, 0]
    with pytest.raises(InputError, match="has no results for frame 4"):
        session.push(frames[2])


def test_other_videos_are_refused(tmp_path: Path, make_frames: MakeFrames) -> None:
    detector = load(tmp_path, "3,-1,90,1,9,9,0.5\n")
    with pytest.raises(InputError, match=r"det.txt: has frame 2, counted from 0; the video has 2 frames"):
        detect_video(detector, make_frames(2))
    small = [frame[:, :80] for frame in make_frames(3)]
    with pytest.raises(
        InputError, match=r"in a frame of 80x64, got x1, y1, x2, y2 = 89, 0, 98, 9 in frame 2"
    ):
        list(detect_video(detector, small))
    detector = load_parquet(tmp_path / "p.parquet", frame_result(0), size=(80, 64))
    with pytest.raises(InputError, match=r"p.parquet: is for frames of 80x64, got 96x64"):
        list(detect_video(detector, make_frames(1)))
    with pytest.raises(InputError, match="saved boxes belong to a recorded video, got a live stream"):
        detect_video(detector, "http://127.0.0.1:9/nothing")  # refused before it is opened


def test_images_of_coco_must_be_as_many_as_frames(tmp_path: Path, make_frames: MakeFrames) -> None:
    (tmp_path / "p.json").write_text(
        '{"images": [{"id": 1, "file_name": "1.png"}, {"id": 2, "file_name": "2.png"}], "annotations": [], '
        '"categories": [{"id": 1, "name": "fox"}]}'
    )
    detector = load_detector(f"boxes:{tmp_path / 'p.json'}")
    assert scores(list(detect_video(detector, make_frames(2)))) == {0: [], 1: []}
    with pytest.raises(InputError, match=r"p.json: is for a video of 2 frames, got one of 3"):
        detect_video(detector, make_frames(3))


def test_a_file_without_boxes_or_frames(tmp_path: Path, make_frames: MakeFrames) -> None:
    assert scores(list(detect_video(load(tmp_path, ""), make_frames(1)))) == {0: []}
    with pytest.raises(InputError, match=r"p.parquet: expected a video, got none"):
        load_parquet(tmp_path / "p.parquet")


@pytest.mark.parametrize(
    ("inference", "message"),
    [
        (Inference(dtype="float16"), "inference.dtype: expected float32 for saved boxes, got float16"),
        (Inference(compile=True), "inference.compile: expected false, got true"),
        (Inference(loose=True), "inference.loose: expected false on cpu, got true"),
    ],
)
def test_nothing_is_computed(tmp_path: Path, inference: Inference, message: str) -> None:
    detector = load(tmp_path, "")
    assert detector.inference == Inference.plain()
    with pytest.raises(InputError, match=message):
        load_detector(
            f"boxes:{tmp_path / 'det.txt'}", overrides={"method.class_names": ["fox"]}, inference=inference
        )


def test_wrong_settings_are_explained(tmp_path: Path) -> None:
    for settings, message in (
        ({"class_names": ["fox", "fox"]}, "classes: should name each class once"),
        ({"class_names": ["fox", " "]}, "classes: should be names, but one is blank"),
        ({"class_names": []}, "method.class_names: "),
        ({"first_frame": -1}, "method.first_frame: "),
        ({"window": 3}, "method.window: unknown key"),
    ):
        with pytest.raises(InputError, match=message):
            load(tmp_path, "", **settings)
    with pytest.raises(InputError, match=r"boxes:.*det.txt: expected no weights for saved boxes, got w.pth"):
        load_detector(f"boxes:{tmp_path / 'det.txt'}", weights="w.pth")
    with pytest.raises(InputError, match="no such file"):
        load_detector(f"boxes:{tmp_path / 'none.parquet'}")
    with pytest.raises(InputError, match="expected predictions that end in"):
        load_detector("boxes:")
    with pytest.raises(InputError, match=r"det.txt: refers to .* if it is MOT's det.txt, method.class_names"):
        load(tmp_path, "", class_names=None)
