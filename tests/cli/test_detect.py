"""`megavid detect` as a user meets it: what comes out, and what is said when something is wrong."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import PIL.Image
import pyarrow.parquet as pq
import pytest

from megavid import detect_video, load_detector
from megavid.cli import main
from megavid.convert.weights import write_weights
from megavid.core.frames import Image
from megavid.evaluation.predictions import METADATA_KEY
from megavid.methods import METHODS
from megavid.video.writer import VideoWriter
from tests.conftest import build_tiny

MakeFrames = Callable[[int], list[Image]]
Run = Callable[..., int]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Weights of a tiny detector of each method."""
    folder = tmp_path_factory.mktemp("weights")
    source = folder / "source"
    source.touch()
    for method in METHODS:
        detector = build_tiny(method)
        config = detector.config.model_dump(mode="json")
        path = folder / f"{method}.safetensors"
        write_weights(path, detector.state_dict(), config=config, source=source, licence="none")
    return {method: folder / f"{method}.safetensors" for method in METHODS}


@pytest.fixture
def run(weights: dict[str, Path], tmp_path: Path) -> Run:
    """`run(INPUT, ...)`: `megavid detect` into tmp_path/out with the tiny MEGA; the exit code."""

    def detect(video: object, *arguments: str, method: str = "mega") -> int:
        fixed = ["--weights", str(weights[method]), "-o", str(tmp_path / "out"), "--device", "cpu"]
        return main(["detect", str(video), *fixed, *arguments])

    return detect


@pytest.fixture
def folder(tmp_path: Path, make_frames: MakeFrames) -> Path:
    """Nine 96x64 images whose numbers start at 7 and have a gap."""
    path = tmp_path / "frames"
    path.mkdir()
    for number, image in zip([7, 8, 9, 10, 11, 20, 21, 100, 101], make_frames(9), strict=True):
        PIL.Image.fromarray(image).save(path / f"img{number}.png")
    return path


def write_video(path: Path, frames: list[Image], rate: Fraction = Fraction(30000, 1001)) -> Path:
    height, width = frames[0].shape[:2]
    with VideoWriter(path, rate=rate, width=width, height=height) as writer:
        for i, frame in enumerate(frames):
            writer.write(frame, float(i / rate))
    return path


def read_video(path: Path) -> tuple[Fraction | None, list[tuple[int, int]]]:
    """Average rate, and (height, width) of every frame."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        return stream.average_rate, [(f.height, f.width) for f in container.decode(stream)]


def predictions(path: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    metadata = pq.read_metadata(path).metadata
    return pq.read_table(path).to_pylist(), json.loads(metadata[METADATA_KEY.encode()])


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a mistake gets, after the progress bar of a run that had begun."""
    *progress, error = capsys.readouterr().err.strip().split("\n")
    assert error.startswith("megavid: error: ")
    assert all("frames/s" in line for line in progress)
    return error


@pytest.mark.parametrize("method", METHODS)
def test_a_folder_becomes_a_video_and_a_table(
    run: Run, weights: dict[str, Path], folder: Path, tmp_path: Path, method: str
) -> None:
    assert run(folder, "--score-threshold", "0.2", method=method) == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["annotated.mp4", "predictions.parquet"]
    rate, sizes = read_video(tmp_path / "out" / "annotated.mp4")
    assert rate == 25
    assert sizes == [(64, 96)] * 9
    rows, metadata = predictions(tmp_path / "out" / "predictions.parquet")
    detector = load_detector(weights=weights[method], device="cpu")
    expected = list(detect_video(detector, folder, score_threshold=0.2))
    assert len(rows) == sum(len(r.detections) for r in expected) > 0
    names = [f"img{n}.png" for n in [7, 8, 9, 10, 11, 20, 21, 100, 101]]
    i = 0
    for result in expected:
        found = result.detections
        for box, score, label in zip(found.boxes, found.scores, found.labels, strict=True):
            row = rows[i]
            assert (row["video"], row["frame"], row["file"]) == ("frames", result.index, names[result.index])
            assert row["time"] == pytest.approx(result.time)
            assert (row["label"], row["class_name"]) == (int(label), detector.class_names[int(label)])
            assert [row[k] for k in ("score", "x1", "y1", "x2", "y2")] == [float(score), *box.tolist()]
            i += 1
    assert metadata["frames"] == 9
    assert metadata["complete"] is True
    assert metadata["config"]["method"]["name"] == method
    assert metadata["weights"] == f"{method}.safetensors"


@pytest.mark.parametrize("frames", [1, 2, 12])
def test_a_video_keeps_its_size_and_rate(
    run: Run, tmp_path: Path, make_frames: MakeFrames, frames: int
) -> None:
    video = write_video(tmp_path / "clip.mp4", make_frames(frames))
    assert run(video) == 0
    rate, sizes = read_video(tmp_path / "out" / "annotated.mp4")
    assert sizes == [(64, 96)] * frames
    if frames > 1:
        assert rate == Fraction(30000, 1001)


@pytest.mark.parametrize("size", [(1, 1), (51, 33)])
def test_odd_sizes_are_made_even(run: Run, tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "odd"
    path.mkdir()
    for i in range(2):
        PIL.Image.fromarray(np.full((*size, 3), 90 * i, np.uint8)).save(path / f"{i}.png")
    assert run(path) == 0
    _, sizes = read_video(tmp_path / "out" / "annotated.mp4")
    assert sizes == [(size[0] + 1, size[1] + 1)] * 2


def test_every_nth_frame_keeps_number_and_time(run: Run, tmp_path: Path, make_frames: MakeFrames) -> None:
    video = write_video(tmp_path / "clip.mp4", make_frames(10), rate=Fraction(20))
    assert run(video, "--every", "4", "--score-threshold", "0") == 0
    rows, metadata = predictions(tmp_path / "out" / "predictions.parquet")
    assert sorted({(row["frame"], row["time"]) for row in rows}) == [(0, 0.0), (4, 0.2), (8, 0.4)]
    assert metadata["frames"] == 3
    rate, sizes = read_video(tmp_path / "out" / "annotated.mp4")
    assert rate == 5
    assert len(sizes) == 3


def test_frames_as_images(run: Run, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "--save-frames") == 0
    out = tmp_path / "out"
    assert sorted(p.name for p in out.iterdir()) == ["frames", "predictions.parquet"]
    assert len(list((out / "frames").iterdir())) == 9
    with PIL.Image.open(out / "frames" / "img100.jpg") as image:
        assert image.size == (96, 64)
    capsys.readouterr()
    assert run(folder, "--save-frames") == 2
    assert "frames: is there already" in error_of(capsys)
    assert run(folder) == 0  # the video and the table are replaced


def test_classes_are_chosen(
    run: Run, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, "--classes", "ring, disc", "--score-threshold", "0") == 0
    rows, _ = predictions(tmp_path / "out" / "predictions.parquet")
    assert {row["class_name"] for row in rows} == {"ring", "disc"}
    capsys.readouterr()
    assert run(folder, "--classes", "ring,dog") == 2
    assert "classes: 'dog' is not one of the detector's: disc, ring, square" in error_of(capsys)


def test_configuration_is_set_by_path(
    run: Run, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, "--method.window", "2", "--method.memory=1", "--rpn.nms-threshold", "0.6") == 0
    _, metadata = predictions(tmp_path / "out" / "predictions.parquet")
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
    "arguments",
    [
        ["--every", "0"],
        ["--batch-size", "0"],
        ["--score-threshold", "1.5"],
        ["--device", "tpu"],
        ["--fps", "0"],
    ],
)
def test_impossible_values_are_named(
    run: Run, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert run(folder, *arguments) == 2
    assert arguments[0].strip("-").replace("-", "_") in error_of(capsys)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("options", [["--batch-size", "4"], ["--dtype", "bfloat16"], ["--causal"]])
def test_options_that_change_how_it_runs(run: Run, folder: Path, tmp_path: Path, options: list[str]) -> None:
    assert run(folder, *options) == 0
    assert predictions(tmp_path / "out" / "predictions.parquet")[1]["frames"] == 9


def test_inputs_that_are_none(
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
        (tmp_path / "*.gif", r"*.gif: no images match"),
        ("99", "camera 99"),
    ]:
        assert run(video) == 2
        assert message in error_of(capsys)
        assert not (tmp_path / "out").exists()


def test_wrong_weights(
    folder: Path, tmp_path: Path, weights: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    base = ["detect", str(folder), "-o", str(tmp_path / "out"), "--device", "cpu"]
    assert main([*base, "--weights", str(tmp_path / "none.pth")]) == 2
    assert "none.pth: no such weight file" in error_of(capsys)
    assert main([*base, "--weights", str(weights["mega"]), "--model", "single_frame_r50"]) == 2
    assert "its method is mega, but single_frame_r50 has single_frame" in error_of(capsys)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_corrupt_image_in_the_middle_keeps_what_was_done(
    run: Run, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = folder / "img100.png"
    damaged.write_bytes(damaged.read_bytes()[:3000])
    # Without look-ahead and global frames, seven frames are done when the eighth turns out to be damaged.
    assert run(folder, method="single_frame") == 2
    assert "img100.png" in error_of(capsys)
    out = tmp_path / "out"
    assert sorted(p.name for p in out.iterdir()) == ["annotated.partial.mp4", "predictions.partial.parquet"]
    _, metadata = predictions(out / "predictions.partial.parquet")
    assert (metadata["frames"], metadata["complete"]) == (7, False)
    assert len(read_video(out / "annotated.partial.mp4")[1]) == 7
    # Once it is mended, a complete run leaves nothing partial behind.
    shutil.copy(folder / "img101.png", damaged)
    assert run(folder, method="single_frame") == 0
    assert sorted(p.name for p in out.iterdir()) == ["annotated.mp4", "predictions.parquet"]


def test_a_truncated_video_is_done_as_far_as_it_goes(
    run: Run, tmp_path: Path, make_frames: MakeFrames, caplog: pytest.LogCaptureFixture
) -> None:
    noise = np.random.default_rng(0).integers(0, 40, (30, 64, 96, 3))
    frames = [(f // 2 + n).astype(np.uint8) for f, n in zip(make_frames(30), noise, strict=True)]
    video = write_video(tmp_path / "clip.mp4", frames)
    video.write_bytes(video.read_bytes()[: int(video.stat().st_size * 0.7)])
    assert run(video) == 0
    _, metadata = predictions(tmp_path / "out" / "predictions.parquet")
    done = metadata["frames"]
    assert 5 < done < 30
    assert f"clip.mp4: {30 - done} frames are lost" in caplog.text


def test_an_output_place_that_cannot_be_written_to(
    run: Run, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").write_text("a file is in the way")
    assert run(folder) == 2
    assert "out: cannot be written to" in error_of(capsys)


def subprocess_arguments(video: object, out: Path, weights: Path) -> list[str]:
    code = "import sys; from megavid.cli import main; sys.exit(main())"
    return [
        sys.executable,
        "-c",
        code,
        "detect",
        str(video),
        "--weights",
        str(weights),
        "-o",
        str(out),
        "--device",
        "cpu",
    ]


def test_a_full_disk(weights: dict[str, Path], folder: Path, tmp_path: Path) -> None:
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


def test_ctrl_c_keeps_what_was_done(
    weights: dict[str, Path], tmp_path: Path, make_frames: MakeFrames
) -> None:
    video = write_video(tmp_path / "clip.mp4", make_frames(30) * 100)
    out = tmp_path / "out"
    process = subprocess.Popen(
        subprocess_arguments(video, out, weights["mega"]), stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not list(out.glob(".unfinished-*/predictions.parquet")) and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(3)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert "interrupted" in errors
    assert sorted(p.name for p in out.iterdir()) == ["annotated.partial.mp4", "predictions.partial.parquet"]
    _, metadata = predictions(out / "predictions.partial.parquet")
    assert 0 < metadata["frames"] < 3000
    assert metadata["complete"] is False
    assert len(read_video(out / "annotated.partial.mp4")[1]) == metadata["frames"]


@pytest.fixture
def stream(tmp_path: Path, make_frames: MakeFrames) -> Iterator[str]:
    """The address of a stream of 12 frames."""
    path = tmp_path / "clip.ts"
    with av.open(str(path), "w", format="mpegts") as container:
        output = container.add_stream("libx264", rate=25, options={"g": "5"})
        output.width, output.height, output.pix_fmt = 96, 64, "yuv420p"
        for image in make_frames(12):
            container.mux(output.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(output.encode(None))
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            connection.sendall(path.read_bytes())

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
    server.close()


def test_a_live_stream(run: Run, stream: str, tmp_path: Path) -> None:
    assert run(stream) == 0
    _, metadata = predictions(tmp_path / "out" / "predictions.parquet")
    assert metadata["frames"] == 12
    assert metadata["complete"] is True
