"""Writing videos."""

from __future__ import annotations

import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from megavid.core.errors import InputError
from megavid.core.frames import Frame, Image
from megavid.video.open_input import VideoFile
from megavid.video.video_writer import VideoWriter


def gray(i: int, width: int = 64, height: int = 48) -> Image:
    return np.full((height, width, 3), 7 * i % 252, np.uint8)


def write(path: Path, times: list[float], *, rate: Fraction = Fraction(25)) -> list[Frame]:
    with VideoWriter(path, rate=rate, width=64, height=48) as writer:
        for i, time in enumerate(times):
            writer.write(gray(i), time)
    return list(VideoFile(path))


@pytest.mark.parametrize(
    "rate",
    [
        Fraction(25),
        Fraction(30000, 1001),
        Fraction(24000, 1001),
        Fraction(15, 2),
        Fraction(1, 3),
        Fraction(2997, 100),
        Fraction(240),
    ],
)
def test_a_constant_rate_is_exact(tmp_path: Path, rate: Fraction) -> None:
    path = tmp_path / "v.mp4"
    frames = write(path, [float(i / rate) for i in range(30)], rate=rate)
    assert VideoFile(path).rate == rate
    assert [frame.time for frame in frames] == [float(i / rate) for i in range(30)]
    assert [round(float(frame.image.mean()) / 7) for frame in frames] == list(range(30))


def test_a_variable_rate_is_kept(tmp_path: Path) -> None:
    times = [0, 0.04, 0.2, 0.201, 1.5, 7.25]
    frames = write(tmp_path / "v.mp4", times)
    np.testing.assert_allclose([frame.time for frame in frames], times, atol=1e-5)


def test_times_that_do_not_increase_continue_after_one_period(tmp_path: Path) -> None:
    frames = write(tmp_path / "v.mp4", [5.0, 5.04, 5.04, 0.0, 0.5, 0.54])
    np.testing.assert_allclose([f.time for f in frames], [0, 0.04, 0.08, 0.12, 0.62, 0.66], atol=1e-9)


def test_files_are_compatible_with_all_players(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    write(path, [0.0, 0.04])
    data = path.read_bytes()
    assert data[4:8] == b"ftyp"
    assert b"mp41" in data[:40]
    assert data.find(b"moov") < data.find(b"mdat")
    with av.open(path) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt, stream.frames) == ("h264", "yuv420p", 2)


def test_colors_are_preserved(tmp_path: Path) -> None:
    colors = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [30, 90, 200]], np.uint8)
    image = np.repeat(np.repeat(colors[None], 32, axis=0), 32, axis=1)
    with VideoWriter(tmp_path / "v.mp4", rate=Fraction(25), width=128, height=32) as writer:
        writer.write(image, 0.0)
    read = VideoFile(tmp_path / "v.mp4")[0].astype(int)
    assert np.abs(read - image)[:, 16::32].max() <= 4


@pytest.mark.parametrize(("width", "height"), [(1, 1), (2, 2), (33, 17), (5000, 3000)])
def test_sizes_are_made_even(tmp_path: Path, width: int, height: int) -> None:
    path = tmp_path / "v.mp4"
    image = np.full((height, width, 3), 90, np.uint8)
    image[-1], image[:, -1] = 200, 200
    with VideoWriter(path, rate=Fraction(25), width=width, height=height) as writer:
        writer.write(image, 0.0)
    read = VideoFile(path)[0]
    assert read.shape == (height + height % 2, width + width % 2, 3)
    if width % 2:  # the added column and row repeat the last column and row
        assert np.abs(read[-2:].astype(int) - 200).max() < 20
        assert np.abs(read[:, -2:].astype(int) - 200).max() < 20


@pytest.mark.parametrize("aspect", [Fraction(16, 15), Fraction(40, 33), Fraction(1)])
def test_pixel_aspect_is_kept(tmp_path: Path, aspect: Fraction) -> None:
    path = tmp_path / "v.mp4"
    with VideoWriter(path, rate=Fraction(25), width=64, height=48, pixel_aspect=aspect) as writer:
        writer.write(np.zeros((48, 64, 3), np.uint8), 0)
    assert VideoFile(path).pixel_aspect == aspect
    with av.open(path) as container:
        assert (container.streams.video[0].sample_aspect_ratio or 1) == aspect


def test_a_writer_may_be_closed_twice_and_without_frames(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "v.mp4", rate=Fraction(25), width=64, height=48)
    writer.write(gray(0), 0.0)
    writer.close()
    size = (tmp_path / "v.mp4").stat().st_size
    writer.close()
    assert (tmp_path / "v.mp4").stat().st_size == size
    assert len(VideoFile(tmp_path / "v.mp4")) == 1
    VideoWriter(tmp_path / "none.mp4", rate=Fraction(25), width=64, height=48).close()


def test_frames_before_an_error_can_be_read(tmp_path: Path) -> None:
    def interrupted() -> None:
        with VideoWriter(tmp_path / "v.mp4", rate=Fraction(25), width=64, height=48) as writer:
            writer.write(gray(0), 0.0)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(VideoFile(tmp_path / "v.mp4")) == 1


def test_invalid_arguments_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    with (
        VideoWriter(path, rate=Fraction(25), width=64, height=48) as writer,
        pytest.raises(InputError, match=r"v\.mp4: expected frames of 64x48 pixels, got 48x64"),
    ):
        writer.write(gray(0, 48, 64), 0.0)
    with pytest.raises(InputError, match=r"nowhere.*No such file"):
        VideoWriter(tmp_path / "nowhere" / "v.mp4", rate=Fraction(25), width=64, height=48)
    with pytest.raises(InputError, match="positive"):
        VideoWriter(path, rate=Fraction(0), width=64, height=48)
    with pytest.raises(InputError, match=r"v\.mp4.*40000x48"):
        VideoWriter(path, rate=Fraction(25), width=40000, height=48)


FULL_DISK = """
import resource, sys
import numpy as np
from fractions import Fraction
from pathlib import Path
from megavid.core.errors import InputError
from megavid.core.files.atomic import atomic_path
from megavid.video.video_writer import VideoWriter
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
noise = np.random.default_rng(0)
try:
    with (
        atomic_path(Path(sys.argv[1])) as path,
        VideoWriter(path, rate=Fraction(25), width=64, height=48) as writer,
    ):
        for i in range(int(sys.argv[2])):
            writer.write(noise.integers(0, 256, (48, 64, 3), np.uint8), i / 25)
except InputError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no RLIMIT_FSIZE there")
@pytest.mark.parametrize("count", [12, 200])  # the limit is reached when closing, and while writing frames
def test_a_full_disk_is_an_error(tmp_path: Path, count: int) -> None:
    script = [sys.executable, "-c", FULL_DISK, str(tmp_path / "v.mp4"), str(count)]
    done = subprocess.run(script, capture_output=True, text=True, check=True)
    assert re.fullmatch(r".*/v\.mp4: cannot be written: File too large\n", done.stdout)
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []
