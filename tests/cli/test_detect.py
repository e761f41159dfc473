"""`megavid detect`: its outputs and options."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import PIL.Image
import pyarrow.parquet as pq
import pytest
import torch

from megavid import detect_video, load_detector
from megavid.cli import main
from megavid.core.frames import Image
from megavid.datasets.synthetic.camera import film
from tests.cli.helpers import error_of, read_predictions, read_video, write_video
from tests.conftest import TINY_METHODS
from tests.tolerances import REPEATABLE, REPEATED
from tests.video.videos import make_video

MakeFrames = Callable[[int], list[Image]]
Run = Callable[..., int]


@pytest.mark.parametrize("method", TINY_METHODS)
def test_folder_gives_a_video_and_predictions(
    run: Run, weights: dict[str, Path], folder: Path, tmp_path: Path, method: str, device: torch.device
) -> None:
    assert run(folder, "--score-threshold", "0.2", method=method) == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["annotated.mp4", "predictions.parquet"]
    rate, sizes = read_video(tmp_path / "out" / "annotated.mp4")
    assert rate == 25
    assert sizes == [(64, 96)] * 9
    rows, metadata = read_predictions(tmp_path / "out" / "predictions.parquet")
    detector = load_detector(weights=weights[method], device=device)
    expected = list(detect_video(detector, folder, score_threshold=0.2))
    assert len(rows) == sum(len(r.detections) for r in expected) > 0
    names = [f"img{n}.png" for n in [7, 8, 9, 10, 11, 20, 21, 100, 101]]
    tolerance = 0 if device.type in REPEATABLE else REPEATED.pixels
    i = 0
    for result in expected:
        found = result.detections
        for box, score, label in zip(found.boxes, found.scores, found.labels, strict=True):
            row = rows[i]
            assert (row["video"], row["frame"], row["file"]) == ("frames", result.index, names[result.index])
            assert row["time"] == pytest.approx(result.time)
            assert (row["label"], row["class_name"]) == (int(label), detector.class_names[int(label)])
            numbers = [row[k] for k in ("score", "x1", "y1", "x2", "y2")]
            assert numbers == pytest.approx([float(score), *box.tolist()], abs=tolerance)
            i += 1
    assert metadata["frames"] == 9
    assert metadata["complete"] is True
    assert metadata["config"]["method"]["name"] == method
    assert metadata["weights"] == f"{method}.safetensors"


@pytest.mark.parametrize("frames", [1, 2, 12])
def test_video_keeps_its_size_and_frame_rate(
    run: Run, tmp_path: Path, make_frames: MakeFrames, frames: int
) -> None:
    video = write_video(tmp_path / "clip.mp4", make_frames(frames))
    assert run(video) == 0
    rate, sizes = read_video(tmp_path / "out" / "annotated.mp4")
    assert sizes == [(64, 96)] * frames
    if frames > 1:
        assert rate == Fraction(30000, 1001)


@pytest.mark.parametrize("size", [(1, 1), (51, 33)])
def test_odd_sizes_are_padded_to_even_ones(run: Run, tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "odd"
    path.mkdir()
    for i in range(2):
        PIL.Image.fromarray(np.full((*size, 3), 90 * i, np.uint8)).save(path / f"{i}.png")
    assert run(path) == 0
    _, sizes = read_video(tmp_path / "out" / "annotated.mp4")
    assert sizes == [(size[0] + 1, size[1] + 1)] * 2


def test_every_nth_frame_keeps_its_number_and_time(run: Run, tmp_path: Path, make_frames: MakeFrames) -> None:
    video = write_video(tmp_path / "clip.mp4", make_frames(10), rate=Fraction(20))
    assert run(video, "--every", "4", "--score-threshold", "0") == 0
    rows, metadata = read_predictions(tmp_path / "out" / "predictions.parquet")
    assert sorted({(row["frame"], row["time"]) for row in rows}) == [(0, 0.0), (4, 0.2), (8, 0.4)]
    assert metadata["frames"] == 3
    assert metadata["video_info"] == {video.name: {"width": 96, "height": 64, "frame_numbers": [[0, 8, 4]]}}
    rate, sizes = read_video(tmp_path / "out" / "annotated.mp4")
    assert rate == 5
    assert len(sizes) == 3


def test_annotated_frames_are_saved_as_images(
    run: Run, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, "--save-frames") == 0
    out = tmp_path / "out"
    assert sorted(p.name for p in out.iterdir()) == ["frames", "predictions.parquet"]
    assert len(list((out / "frames").iterdir())) == 9
    with PIL.Image.open(out / "frames" / "img100.jpg") as image:
        assert image.size == (96, 64)
    capsys.readouterr()
    assert run(folder, "--save-frames") == 2
    assert "frames: exists already" in error_of(capsys)
    assert run(folder) == 0  # without --save-frames, only the video and the predictions are replaced


def test_classes_can_be_selected(
    run: Run, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, "--classes", "ring, disc", "--score-threshold", "0") == 0
    rows, _ = read_predictions(tmp_path / "out" / "predictions.parquet")
    assert {row["class_name"] for row in rows} == {"ring", "disc"}
    capsys.readouterr()
    assert run(folder, "--classes", "ring,dog") == 2
    assert "classes: 'dog' is not one of the detector's: disc, ring, square" in error_of(capsys)


def test_empty_results_are_explained(run: Run, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "--score-threshold", "0.9999") == 0
    said = capsys.readouterr().out
    assert "0 detections\n  note: no score exceeds 0.9999; --score-threshold sets a lower limit" in said
    assert run(folder, "--score-threshold", "0", "--track") == 0
    said = capsys.readouterr().out
    assert re.search(r"[1-9]\d* detections, 0 tracks\n  note: no tracks: one begins with", said)


def test_tracking_gives_ids_and_one_class_per_track(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], device: torch.device
) -> None:
    frames_of_video = film(seed=0, video=3, frames=9, height=144, width=192)
    video = write_video(tmp_path / "balls.mp4", [frame.image for frame in frames_of_video])
    output = ["-o", str(tmp_path / "out"), "--device", str(device)]
    weights = ["--weights", "mega_generated", "--score-threshold", "0.3"]
    assert main(["detect", str(video), *weights, *output, "--track"]) == 0
    rows, _ = read_predictions(tmp_path / "out" / "predictions.parquet")
    frames: dict[int, list[int]] = {}
    for row in rows:
        frames.setdefault(row["frame"], []).append(row["track"])
    for tracks in frames.values():
        known = [track for track in tracks if track >= 0]
        assert len(set(known)) == len(known)
    assert set(frames[7]) & set(frames[8]) - {-1}
    classes = {(row["track"], row["class_name"]) for row in rows if row["track"] >= 0}
    table = pq.read_table(tmp_path / "out" / "tracks.parquet").to_pylist()
    assert sorted(classes) == [(row["track"], row["class_name"]) for row in table]
    assert sum(row["boxes"] for row in table) == sum(row["track"] >= 0 for row in rows)
    assert str(tmp_path / "out" / "tracks.parquet") in capsys.readouterr().out
    assert main(["detect", str(video), *weights, *output]) == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["annotated.mp4", "predictions.parquet"]


def test_configuration_can_be_set_by_path(
    run: Run, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, "--method.window", "2", "--method.memory=1", "--rpn.nms-threshold", "0.6") == 0
    _, metadata = read_predictions(tmp_path / "out" / "predictions.parquet")
    assert metadata["config"]["method"]["window"] == 2
    assert metadata["config"]["method"]["memory"] == 1
    assert metadata["config"]["rpn"]["nms_threshold"] == 0.6
    capsys.readouterr()
    for arguments, message in [
        (["--method.windw", "2"], "method.windw: unknown key"),
        (["--method.window", "wide"], "method.window: .*'wide'"),
        (["--method.window"], "--method.window: expected a value"),
    ]:
        assert run(folder, *arguments) == 2
        assert re.search(message, error_of(capsys))


@pytest.mark.parametrize(
    "options", [["--batch-size", "4"], ["--dtype", "bfloat16"], ["--causal"], ["--plain"], ["--compile"]]
)
def test_inference_options_are_accepted(run: Run, folder: Path, tmp_path: Path, options: list[str]) -> None:
    assert run(folder, *options) == 0
    assert read_predictions(tmp_path / "out" / "predictions.parquet")[1]["frames"] == 9


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "CMYK"])
def test_images_of_any_color_mode_are_read(run: Run, folder: Path, tmp_path: Path, mode: str) -> None:
    suffix = ".jpg" if mode == "CMYK" else ".png"
    other = tmp_path / "other"
    other.mkdir()
    for path in folder.iterdir():
        with PIL.Image.open(path) as image:
            image.convert(mode).save((other / path.name).with_suffix(suffix))
    assert run(other, method="single_frame") == 0
    assert read_predictions(tmp_path / "out" / "predictions.parquet")[1]["frames"] == 9


def test_a_large_frame_is_processed(run: Run, tmp_path: Path) -> None:
    PIL.Image.new("RGB", (5000, 3000), "gray").save(tmp_path / "large.jpg")
    assert run(tmp_path / "large.jpg") == 0
    assert read_video(tmp_path / "out" / "annotated.mp4")[1] == [(3000, 5000)]


def test_images_with_the_same_name_are_kept_apart(run: Run, tmp_path: Path, make_frames: MakeFrames) -> None:
    for name, image in zip(("a/0.jpg", "a/0.png", "b/0.png"), make_frames(3), strict=True):
        (tmp_path / "clips" / name).parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(image).save(tmp_path / "clips" / name)
    assert run(tmp_path / "clips" / "*" / "*.*g", "--save-frames", "--score-threshold", "0") == 0
    saved = sorted(p.name for p in (tmp_path / "out" / "frames").iterdir())
    assert saved == ["000000_0.jpg", "000001_0.jpg", "000002_0.jpg"]
    rows, _ = read_predictions(tmp_path / "out" / "predictions.parquet")
    assert {row["file"] for row in rows} == {"a/0.jpg", "a/0.png", "b/0.png"}


def test_variable_frame_rate_is_kept(run: Run, tmp_path: Path) -> None:
    times = [0, 40, 200, 240, 1000]
    make_video(tmp_path / "vfr.mp4", 5, times=times)
    assert run(tmp_path / "vfr.mp4", "--score-threshold", "0") == 0
    with av.open(str(tmp_path / "out" / "annotated.mp4")) as container:
        assert [f.time for f in container.decode(video=0)] == pytest.approx([t / 1000 for t in times])
    rows, _ = read_predictions(tmp_path / "out" / "predictions.parquet")
    assert sorted({row["time"] for row in rows}) == pytest.approx([t / 1000 for t in times])


def test_very_low_frame_rates_are_accepted(run: Run, folder: Path, tmp_path: Path) -> None:
    assert run(folder, "--every", "1000000", "--fps", "0.00001") == 0
    assert read_predictions(tmp_path / "out" / "predictions.parquet")[1]["frames"] == 1


def test_file_names_that_are_not_unicode_are_accepted(
    run: Run, tmp_path: Path, make_frames: MakeFrames
) -> None:
    video = write_video(tmp_path / "clip.mp4", make_frames(2))
    odd = video.rename(os.fsdecode(os.fsencode(tmp_path) + b"/\xff [1].mp4"))
    assert run(odd, "--score-threshold", "0") == 0
    rows, _ = read_predictions(tmp_path / "out" / "predictions.parquet")
    assert {row["video"] for row in rows} == {"? [1].mp4"}
