"""Finding the size, the rate and the number of frames of a video file."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import pytest

from megavid.core.errors import InputError
from megavid.video.open_input import open_input
from megavid.video.probe import VideoInfo, probe_video
from tests.video.videos import make_video


def test_the_size_the_rate_and_the_number_of_frames_are_found(tmp_path: Path) -> None:
    make_video(tmp_path / "v.mp4", 5)
    make_video(tmp_path / "v.ts", 5)
    expected = VideoInfo(width=64, height=48, frames=5, rate=Fraction(25))
    assert probe_video(tmp_path / "v.mp4") == expected
    assert probe_video(tmp_path / "v.ts").frames is None


def test_the_size_is_that_of_the_rotated_frames(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    make_video(path, 2)
    data = bytearray(path.read_bytes())
    start = data.find(b"tkhd") + 44
    rows = (0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)  # a quarter turn
    data[start : start + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in rows)
    path.write_bytes(data)
    assert (probe_video(path).width, probe_video(path).height) == (48, 64)


PLAYLISTS = {
    "a.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{video}\n",
    "b.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nb.m3u8\n",
    "c.mp4": "ffconcat version 1.0\nfile c.mp4\n",
    "d.ffconcat": "ffconcat version 1.0\nfile '{video}'\n",
    "e.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
    "a=rtpmap:96 H264/90000\n",
}


@pytest.mark.parametrize("name", PLAYLISTS)
def test_playlists_are_refused(tmp_path: Path, name: str) -> None:
    make_video(tmp_path / "v.ts", 5)
    (tmp_path / name).write_text(PLAYLISTS[name].format(video="v.ts"))
    for read in (probe_video, open_input):
        with pytest.raises(InputError, match=f"{name}: expected a file that holds a video, got a playlist"):
            read(tmp_path / name)
    with pytest.raises(InputError, match=f"{name}: expected a file that holds a video, got a playlist"):
        open_input(f"file://{tmp_path / name}")


def test_pipes_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "zero.mp4").symlink_to("/dev/zero")
    for name in ("pipe.mp4", "zero.mp4", "missing.mp4"):
        for read in (probe_video, open_input):
            with pytest.raises(InputError, match=name):
                read(tmp_path / name)


def test_a_codec_that_ffmpeg_cannot_decode_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "v.mkv"
    make_video(path, 5)
    path.write_bytes(path.read_bytes().replace(b"V_MPEG4/ISO/AVC", b"V_MPEG4/ISO/XYZ"))
    for read in (probe_video, open_input):
        with pytest.raises(InputError, match=r"v\.mkv: expected a video in a codec that FFmpeg can decode"):
            read(path)
