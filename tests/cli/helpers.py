"""Helpers for tests of the command line: write and read videos, predictions and messages."""

from __future__ import annotations

import json
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pyarrow.parquet as pq
import pytest

from megavid.core.frames import Image
from megavid.evaluation.formats.parquet_schema import METADATA_KEY
from megavid.video.video_writer import VideoWriter


def write_video(path: Path, frames: list[Image], rate: Fraction = Fraction(30000, 1001)) -> Path:
    height, width = frames[0].shape[:2]
    with VideoWriter(path, rate=rate, width=width, height=height) as writer:
        for i, frame in enumerate(frames):
            writer.write(frame, float(i / rate))
    return path


def read_video(path: Path) -> tuple[Fraction | None, list[tuple[int, int]]]:
    """Check that a video is H.264; return its average frame rate, and (height, width) of each frame."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        return stream.average_rate, [(f.height, f.width) for f in container.decode(stream)]


def read_predictions(path: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the rows and the metadata of a predictions file."""
    metadata = pq.read_metadata(path).metadata
    return pq.read_table(path).to_pylist(), json.loads(metadata[METADATA_KEY.encode()])


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the error message, which must be one line; only progress may be printed before it."""
    *progress, error = capsys.readouterr().err.strip().split("\n")
    assert error.startswith("megavid: error: ")
    assert all("frames/s" in line for line in progress)
    return error


def subprocess_arguments(video: object, out: Path, weights: Path) -> list[str]:
    """Return the arguments that run `megavid detect` in a separate process."""
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
