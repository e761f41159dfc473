"""`megavid detect --link`: linked results in pictures and files."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import PIL.Image
import pyarrow.parquet as pq
import pytest
import torch

from megavid.cli import main
from megavid.core.frames import Image
from megavid.datasets.synthetic.camera import film
from megavid.linking.linkers import LINKERS
from tests.cli.helpers import error_of, read_predictions, read_video, write_video
from tests.video.videos import make_video, serve

MakeFrames = Callable[[int], list[Image]]
Run = Callable[..., int]

COLUMNS = ("frame", "label", "score", "x1", "y1", "x2", "y2", "track")


@pytest.mark.parametrize(("name", "every"), [*((name, 1) for name in LINKERS), ("seq_nms", 2)])
def test_results_are_those_of_linked_predictions(
    run: Run, folder: Path, tmp_path: Path, name: str, every: int
) -> None:
    out, linked = tmp_path / "out", tmp_path / "linked.parquet"
    steps = ["--every", str(every)]
    assert run(folder, "--score-threshold", "0.001", *steps) == 0
    assert main(["link", str(out / "predictions.parquet"), "--method", name, "-o", str(linked)]) == 0
    expected, _ = read_predictions(linked)
    assert run(folder, "--score-threshold", "0", "--link", name, *steps) == 0
    rows, metadata = read_predictions(out / "predictions.parquet")
    assert [[row[key] for key in COLUMNS] for row in rows] == [
        [row[key] for key in COLUMNS] for row in expected
    ]
    assert rows
    assert [row["file"] for row in rows] == [row["file"] for row in expected]
    assert metadata["linking"] == LINKERS[name]().model_dump(mode="json")
    assert metadata["complete"] is True
    table = pq.read_table(out / "tracks.parquet").to_pylist()
    assert [row["track"] for row in table] == sorted({row["track"] for row in rows})
    assert len(read_video(out / "annotated.mp4")[1]) == len(range(0, 9, every))


def test_pictures_show_the_frames_of_their_results(run: Run, tmp_path: Path, make_frames: MakeFrames) -> None:
    # With a threshold that no score reaches, the pictures are those of the video.
    video = write_video(tmp_path / "clip.mp4", make_frames(7))
    for options in ([], ["--link", "seq_nms"]):
        arguments = ["--score-threshold", "0.9999", "--save-frames", *options]
        assert run(video, *arguments) == 0
        (tmp_path / "out" / "frames").rename(tmp_path / f"frames{len(options)}")
    names = sorted(path.name for path in (tmp_path / "frames0").iterdir())
    assert len(names) == 7
    for name in names:
        one, two = (PIL.Image.open(tmp_path / folder / name) for folder in ("frames0", "frames2"))
        assert one.tobytes() == two.tobytes()


@pytest.mark.parametrize(("options", "threshold"), [([], 0.5), (["--link", "seq_nms"], 0.3)])
def test_threshold_without_option(tmp_path: Path, options: list[str], threshold: float) -> None:
    images = [frame.image for frame in film(seed=0, video=3, frames=3, height=144, width=216)]
    video = write_video(tmp_path / "clip.mp4", images)

    def scores(name: str, *given: str) -> list[float]:
        command = ["detect", str(video), "--weights", "single_frame_generated", "-o", str(tmp_path / name)]
        assert main([*command, *options, *given]) == 0
        return [row["score"] for row in read_predictions(tmp_path / name / "predictions.parquet")[0]]

    all_scores = scores("all", "--score-threshold", "0")
    assert min(all_scores) < threshold < max(all_scores)
    assert scores("default") == [score for score in all_scores if score > threshold]


def test_settings_and_classes_apply(
    run: Run, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [
        "--link",
        "seq_diou",
        "--link.rescoring",
        "max",
        "--link.min-score",
        "0.2",
        "--classes",
        "disc",
    ]
    assert run(folder, *options, "--score-threshold", "0", "--method.window", "2") == 0
    rows, metadata = read_predictions(tmp_path / "out" / "predictions.parquet")
    assert metadata["linking"] == {"name": "seq_diou", "min_score": 0.2, "rescoring": "max"}
    assert metadata["config"]["method"]["window"] == 2
    assert {row["class_name"] for row in rows} <= {"disc"}
    assert all(row["score"] >= 0.2 for row in rows)
    assert f"{len(rows)} detections, {len({row['track'] for row in rows})} tracks" in capsys.readouterr().out


def test_mistakes_are_explained(run: Run, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, message in [
        (["--link", "nms"], "--link: expected one of seq_nms, "),
        (["--link", "seq_nms", "--link.gap", "5"], "--link: expected a setting of seq_nms (min_score, "),
        (
            ["--link", "seq_nms", "--link.min-score", "x"],
            "--link seq_nms: min_score: should be a valid number",
        ),
        (["--link.gap", "5"], "--link.gap: needs --link NAME"),
        (["--link", "seq_nms", "--track"], "track: expected tracking or a linker, got both; seq_nms gives"),
    ]:
        assert run(folder, *arguments) == 2
        assert message in error_of(capsys)


def test_a_linker_of_the_whole_video_is_refused_for_a_live_stream(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is refused before the stream is opened and the weights are loaded, neither of which exists."""
    missing = ["--weights", "none.safetensors", "-o", str(tmp_path / "out")]
    for stream in ("http://127.0.0.1:1/stream", "99"):
        assert main(["detect", stream, *missing, "--link", "seq_nms"]) == 2
        assert (
            "link: seq_nms needs a whole video, got a live stream; for live streams: seq_bbox_online"
            in error_of(capsys)
        )
    assert not (tmp_path / "out").exists()


def test_a_pair_model_is_read_before_the_weights(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = ["--weights", "none.safetensors", "-o", str(tmp_path / "out")]
    assert main(["detect", str(folder), *missing, "--link", "repp", "--link.model", "none.json"]) == 2
    assert "none.json: no such file" in error_of(capsys)


def test_a_live_stream_is_linked_by_a_linker_that_does_not_wait(run: Run, tmp_path: Path) -> None:
    data = io.BytesIO()
    make_video(data, 6, format="mpegts")
    with serve(data.getvalue()) as address:
        assert run(address, "--link", "seq_bbox_online", "--score-threshold", "0") == 0
    rows, metadata = read_predictions(tmp_path / "out" / "predictions.parquet")
    assert (metadata["frames"], metadata["linking"]["name"]) == (6, "seq_bbox_online")
    assert len({row["frame"] for row in rows}) == 6
    assert all(row["track"] >= 0 for row in rows)


def test_results_on_generated_balls_have_tracks_that_follow_them(
    tmp_path: Path, device: torch.device
) -> None:
    assert main(["data", "synthesize", str(tmp_path / "balls"), "--videos", "5", "--frames", "8"]) == 0
    frames = next(
        path for path in sorted((tmp_path / "balls" / "Data").rglob("*")) if any(path.glob("*.JPEG"))
    )
    arguments = ["--weights", "single_frame_generated", "--device", str(device), "--link", "seq_nms"]
    assert main(["detect", str(frames), "-o", str(tmp_path / "out"), *arguments]) == 0
    rows, _ = read_predictions(tmp_path / "out" / "predictions.parquet")
    lengths = [sum(row["track"] == track for row in rows) for track in {row["track"] for row in rows}]
    assert max(lengths) >= 6


def test_linked_results_before_a_corrupt_image_are_kept(
    run: Run, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = folder / "img100.png"
    damaged.write_bytes(damaged.read_bytes()[:3000])
    assert run(folder, "--link", "seq_nms", "--score-threshold", "0", method="single_frame") == 2
    assert "img100.png" in error_of(capsys)
    rows, metadata = read_predictions(tmp_path / "out" / "predictions.partial.parquet")
    assert (metadata["frames"], metadata["complete"]) == (7, False)
    assert {row["frame"] for row in rows} == set(range(7))
    assert len(read_video(tmp_path / "out" / "annotated.partial.mp4")[1]) == 7
