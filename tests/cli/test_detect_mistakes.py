"""`megavid detect`: messages for mistakes, and the results that are kept after failures."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from megavid.cli import main
from megavid.core.frames import Image
from tests.cli.helpers import error_of, read_predictions, read_video, subprocess_arguments, write_video

MakeFrames = Callable[[int], list[Image]]
Run = Callable[..., int]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--seed", "-1"],
        ["--every", "0"],
        ["--batch-size", "0"],
        ["--score-threshold", "1.5"],
        ["--device", "tpu"],
        ["--fps", "0"],
    ],
)
def test_invalid_values_are_named(
    run: Run, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert run(folder, *arguments) == 2
    assert arguments[0].strip("-").replace("-", "_") in error_of(capsys)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_invalid_inputs_are_explained(
    run: Run, tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    text = tmp_path / "text.mp4"
    text.write_text("this is no video")
    mixed = tmp_path / "mixed"
    shutil.copytree(folder, mixed)
    PIL.Image.new("RGB", (50, 60)).save(mixed / "img9.png")
    for video, message in [
        (tmp_path / "nowhere.mp4", "nowhere.mp4: no such file or folder"),
        (tmp_path / "empty", "empty: no images"),
        (text, "text.mp4: "),
        (mixed, "img9.png"),
        (tmp_path / "*.gif", "*.gif: no such file, and no images match it"),
        ("99", "camera 99"),
    ]:
        assert run(video) == 2
        assert message in error_of(capsys)
        assert not (tmp_path / "out").exists()


def test_wrong_weights_are_explained(
    folder: Path, tmp_path: Path, weights: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    base = ["detect", str(folder), "-o", str(tmp_path / "out"), "--device", "cpu"]
    assert main([*base, "--weights", str(tmp_path / "none.pth")]) == 2
    assert "none.pth: no such weight file" in error_of(capsys)
    assert main([*base, "--weights", str(weights["mega"]), "--model", "single_frame_r50"]) == 2
    assert "its method.name is mega, but single_frame_r50 has single_frame" in error_of(capsys)
    assert not (tmp_path / "out").exists()


def test_results_before_a_corrupt_image_are_kept(
    run: Run, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = folder / "img100.png"
    damaged.write_bytes(damaged.read_bytes()[:3000])
    # The single-frame method needs no other frames, so the seven frames before the damaged one are complete.
    assert run(folder, method="single_frame") == 2
    assert "img100.png" in error_of(capsys)
    out = tmp_path / "out"
    assert sorted(p.name for p in out.iterdir()) == ["annotated.partial.mp4", "predictions.partial.parquet"]
    _, metadata = read_predictions(out / "predictions.partial.parquet")
    assert (metadata["frames"], metadata["complete"]) == (7, False)
    assert len(read_video(out / "annotated.partial.mp4")[1]) == 7
    # After the image is repaired, a complete run removes the partial files.
    shutil.copy(folder / "img101.png", damaged)
    assert run(folder, method="single_frame") == 0
    assert sorted(p.name for p in out.iterdir()) == ["annotated.mp4", "predictions.parquet"]


def test_truncated_video_is_processed_up_to_its_end(
    run: Run, tmp_path: Path, make_frames: MakeFrames, caplog: pytest.LogCaptureFixture
) -> None:
    noise = np.random.default_rng(0).integers(0, 40, (30, 64, 96, 3))
    frames = [(f // 2 + n).astype(np.uint8) for f, n in zip(make_frames(30), noise, strict=True)]
    video = write_video(tmp_path / "clip.mp4", frames)
    video.write_bytes(video.read_bytes()[: int(video.stat().st_size * 0.7)])
    assert run(video) == 0
    _, metadata = read_predictions(tmp_path / "out" / "predictions.parquet")
    done = metadata["frames"]
    assert 5 < done < 30
    assert f"clip.mp4: {30 - done} frames are lost" in caplog.text


def test_unwritable_output_is_explained(
    run: Run, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").write_text("a file is in the way")
    assert run(folder) == 2
    assert "out: cannot be written to" in error_of(capsys)


def test_full_disk_is_explained(weights: dict[str, Path], folder: Path, tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2500, 2500))

    signal_free = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        subprocess_arguments(folder, tmp_path / "out", weights["mega"]),
        preexec_fn=limit, capture_output=True, text=True, env=signal_free, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "megavid: error: " in done.stderr
    assert "cannot be written" in done.stderr
    assert not (tmp_path / "out" / "annotated.mp4").exists()


def test_input_is_not_overwritten(
    run: Run, tmp_path: Path, make_frames: MakeFrames, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    video = write_video(tmp_path / "out" / "annotated.mp4", make_frames(2))
    before = video.read_bytes()
    assert run(video) == 2
    assert "annotated.mp4: holds the input" in error_of(capsys)
    assert video.read_bytes() == before


@pytest.mark.parametrize(
    "name", ["annotated.mp4", "predictions.parquet", "annotated.partial.mp4", "predictions.partial.parquet"]
)
def test_folder_at_the_path_of_an_output_is_refused_early(
    run: Run, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / "out" / name).mkdir(parents=True)
    (tmp_path / "out" / name / "precious").touch()
    assert run(folder) == 2
    assert f"{name}: expected a file to write" in error_of(capsys)
    assert [p.name for p in (tmp_path / "out").rglob("*")] == [name, "precious"]


def test_frame_too_large_for_the_encoder_is_explained(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = tmp_path / "wide.png"
    PIL.Image.new("RGB", (20_000, 3)).save(image)
    assert run(image) == 2
    assert "out/annotated.mp4: H.264 takes sides up to 16384 pixels, got 20000x3" in error_of(capsys)
    assert list((tmp_path / "out").iterdir()) == []
    assert run(image, "--save-frames") == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--input.min_size", "2020-13-45"], "input.min_size: should be a valid integer, got '2020-13-45'"),
        (["--model", "a" * 300], "no such configuration"),
        (["--method.hidden", "30"], "should be a multiple of heads"),
    ],
)
def test_invalid_values_are_refused_in_one_line(
    run: Run, folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert run(folder, *arguments) == 2
    error = error_of(capsys)
    assert message in error
    assert len(error) < 600


def test_file_at_the_path_of_the_frames_folder_is_refused(
    run: Run, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "frames").touch()
    assert run(folder, "--save-frames") == 2
    assert "frames: expected a folder to write" in error_of(capsys)


@pytest.mark.parametrize("name", ["frames", "frames.partial", "frames.partial/inner"])
def test_input_frames_are_not_overwritten(
    run: Run, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    given = tmp_path / "out" / name
    shutil.copytree(folder, given)
    assert run(given, "--save-frames") == 2
    assert "holds the input" in error_of(capsys)
    assert len(list(given.glob("*.png"))) == 9


def test_full_disk_leaves_complete_images_only(
    weights: dict[str, Path], folder: Path, tmp_path: Path
) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))

    done = subprocess.run(
        [*subprocess_arguments(folder, tmp_path / "out", weights["mega"]), "--save-frames"],
        preexec_fn=limit, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    for path in (tmp_path / "out").rglob("*.jpg"):
        with PIL.Image.open(path) as image:
            image.load()
    assert not list((tmp_path / "out").glob(".unfinished-*"))
