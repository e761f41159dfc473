"""Detection in a real clip of 144 frames, which the repository does not contain; skipped if absent."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import PIL.Image
import pytest

from megavid import open_input
from megavid.cli import main
from megavid.video.open_input import ImageFolder, VideoFile
from megavid.video.video_writer import VideoWriter
from tests.conftest import SHARED, require_shared
from tests.official import OFFICIAL_METHODS, official_shapes, write_official


@pytest.fixture
def clip() -> Path:
    return require_shared(SHARED / "clips" / "airplanes" / "frames")


@pytest.mark.parametrize(
    ("method", "form"), [("single_frame", "video"), *((method, "folder") for method in OFFICIAL_METHODS)]
)
def test_official_checkpoints_run_on_the_clip(clip: Path, tmp_path: Path, method: str, form: str) -> None:
    weights = write_official(tmp_path / "official.pth", official_shapes(method, 50))
    given = clip
    if form == "video":
        given = tmp_path / "clip.mp4"
        with (
            open_input(clip) as frames,
            VideoWriter(given, rate=Fraction(25), width=1280, height=720) as writer,
        ):
            for frame in frames:
                writer.write(frame.image, frame.time)
    out = tmp_path / "out"
    small = [
        "--input.min_size",
        "64",
        "--input.max_size",
        "120",
        "--rpn.post_nms_top_n",
        "20",
        "--batch-size",
        "8",
    ]
    every = 1 if method == "single_frame" else 6  # the other methods take longer
    small += ["--every", str(every)]
    assert main(["detect", str(given), "--weights", str(weights), "-o", str(out), *small]) == 0
    with VideoFile(out / "annotated.mp4") as annotated:
        assert len(list(annotated)) == 144 // every
        assert (annotated.width, annotated.height) == (1280, 720)
        assert annotated.rate == Fraction(25, every)
    with av.open(str(out / "annotated.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "h264"


def test_frames_equal_those_that_pillow_reads(clip: Path) -> None:
    with open_input(clip) as frames, PIL.Image.open(clip / "000143.JPEG") as last:
        assert isinstance(frames, ImageFolder)
        assert np.array_equal(frames[143], np.asarray(last))
