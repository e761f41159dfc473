"""A real clip of 144 frames, where it is at hand; it is no part of the project."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import PIL.Image
import pytest

from megavid import open_input
from megavid.cli import main
from megavid.convert.weights import write_weights
from megavid.video.reader import ImageFolder, VideoFile
from megavid.video.writer import VideoWriter
from tests.conftest import SHARED, build_tiny, require_shared


@pytest.fixture
def clip() -> Path:
    return require_shared(SHARED / "clips" / "airplanes" / "frames")


def test_the_clip_as_folder_and_as_video(clip: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.touch()
    detector = build_tiny("mega")
    weights = tmp_path / "tiny.safetensors"
    config = detector.config.model_dump(mode="json")
    write_weights(weights, detector.state_dict(), config=config, source=source, licence="none")
    video = tmp_path / "clip.mp4"
    with (
        open_input(clip) as frames,
        VideoWriter(video, rate=Fraction(25), width=1280, height=720) as writer,
    ):
        for frame in frames:
            writer.write(frame.image, frame.time)
    for given in (clip, video):
        out = tmp_path / given.stem
        fixed = ["--weights", str(weights), "-o", str(out), "--device", "cpu", "--batch-size", "8"]
        assert main(["detect", str(given), *fixed]) == 0
        with VideoFile(out / "annotated.mp4") as annotated:
            assert len(annotated) == 144
            assert (annotated.width, annotated.height) == (1280, 720)
            assert annotated.rate == 25
        with av.open(str(out / "annotated.mp4")) as container:
            assert container.streams.video[0].codec_context.name == "h264"


def test_frames_are_read_as_pillow_reads_them(clip: Path) -> None:
    with open_input(clip) as frames, PIL.Image.open(clip / "000143.JPEG") as last:
        assert isinstance(frames, ImageFolder)
        assert np.array_equal(frames[143], np.asarray(last))
