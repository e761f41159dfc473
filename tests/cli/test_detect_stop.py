"""`megavid detect`: live streams and interruption."""

from __future__ import annotations

import io
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from megavid.core.frames import Image
from tests.cli.helpers import read_predictions, read_video, subprocess_arguments, write_video
from tests.video.videos import make_video, serve

MakeFrames = Callable[[int], list[Image]]
Run = Callable[..., int]


def test_live_stream_is_processed_to_its_end(run: Run, tmp_path: Path) -> None:
    data = io.BytesIO()
    make_video(data, 12, format="mpegts")
    with serve(data.getvalue()) as address:
        assert run(address) == 0
    _, metadata = read_predictions(tmp_path / "out" / "predictions.parquet")
    assert metadata["frames"] == 12
    assert metadata["complete"] is True


def test_ctrl_c_keeps_partial_results(
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
    _, metadata = read_predictions(out / "predictions.partial.parquet")
    assert 0 < metadata["frames"] < 3000
    assert metadata["complete"] is False
    assert len(read_video(out / "annotated.partial.mp4")[1]) == metadata["frames"]


def test_ctrl_c_before_a_linker_has_seen_the_whole_video_links_the_frames_so_far(
    weights: dict[str, Path], tmp_path: Path, make_frames: MakeFrames
) -> None:
    video = write_video(tmp_path / "clip.mp4", make_frames(30) * 100)
    out = tmp_path / "out"
    process = subprocess.Popen(
        [*subprocess_arguments(video, out, weights["single_frame"]), "--link", "seq_nms"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not list(out.glob(".unfinished-*/predictions.parquet")) and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(3)
    process.send_signal(signal.SIGINT)
    said, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert "interrupted" in errors
    names = ["annotated.partial.mp4", "predictions.partial.parquet", "tracks.partial.parquet"]
    assert sorted(p.name for p in out.iterdir()) == names
    _, metadata = read_predictions(out / "predictions.partial.parquet")
    assert 0 < metadata["frames"] < 3000
    assert said.startswith(f"{metadata['frames']} frames, ")
    assert len(read_video(out / "annotated.partial.mp4")[1]) == metadata["frames"]


def test_ctrl_c_completes_a_live_stream(weights: dict[str, Path], tmp_path: Path) -> None:
    data = io.BytesIO()
    make_video(data, 2000, format="mpegts")
    out = tmp_path / "out"
    with serve(data.getvalue(), bytes_per_second=25_000) as address:
        process = subprocess.Popen(
            [*subprocess_arguments(address, out, weights["single_frame"]), "--every", "50"],
            stderr=subprocess.PIPE,
            text=True,
        )
        deadline = time.monotonic() + 60
        while not list(out.glob(".unfinished-*/predictions.parquet")) and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(2)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert sorted(p.name for p in out.iterdir()) == ["annotated.mp4", "predictions.parquet"]
    _, metadata = read_predictions(out / "predictions.parquet")
    assert 0 < metadata["frames"] < 40
    assert metadata["complete"] is True
