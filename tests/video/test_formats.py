"""Reading containers and codecs, compared with decoding all packets in order with FFmpeg."""

from __future__ import annotations

import random
from contextlib import suppress
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import cast

import av
import numpy as np
import pytest
from av.packet import Packet

from megavid.core.frames import Image
from megavid.video.video_file import VideoFile
from tests.video.videos import damage, make_video

COUNT = 26

CODECS: dict[str, tuple[str, dict[str, str], str, str]] = {
    # name: encoder, options of the encoder, pixel format, suffixes of the containers
    "h264": ("libx264", {"bf": "0"}, "yuv420p", "mp4 mkv ts"),
    "h264 reordered": (
        "libx264",
        {"bf": "3", "g": "12", "x264-params": "open-gop=1:scenecut=0:b-pyramid=normal"},
        "yuv420p",
        "mp4 mov mkv avi ts flv mpg h264",
    ),
    "hevc": ("libx265", {"x265-params": "bframes=3:keyint=12:log-level=none"}, "yuv420p", "mp4 ts hevc"),
    "mpeg1": ("mpeg1video", {"bf": "2", "g": "12"}, "yuv420p", "m1v mpg"),
    "mpeg2": ("mpeg2video", {"bf": "2", "g": "12"}, "yuv420p", "mpg ts m2v avi"),
    "mpeg4": ("mpeg4", {"bf": "2", "g": "12"}, "yuv420p", "avi mp4 m4v"),
    "h263": ("h263", {}, "yuv420p", "avi 3gp"),  # here, all packets are marked as key frames
    "mjpeg": ("mjpeg", {}, "yuvj420p", "avi mjpeg"),
    "vp8": ("libvpx", {"deadline": "realtime", "cpu-used": "8", "g": "10"}, "yuv420p", "webm ivf"),
    "vp9": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "g": "10"}, "yuv420p", "webm"),
    "flv1": ("flv", {}, "yuv420p", "flv"),
    "wmv2": ("wmv2", {}, "yuv420p", "wmv"),
    "gif": ("gif", {}, "rgb8", "gif"),
    "apng": ("apng", {}, "rgb24", "apng"),
    "ffv1": ("ffv1", {}, "yuv420p", "mkv"),
}


def encode(path: Path, name: str) -> None:
    codec, options, pix_fmt, _ = CODECS[name]
    size = (176, 144) if name == "h263" else (64, 48)
    make_video(path, COUNT, codec=codec, options=options, pix_fmt=pix_fmt, size=size)


def remux(source: Path, target: Path) -> None:
    """Copy packets with decoding times as presentation times, as tools that copy raw streams do."""
    with av.open(source) as before, av.open(target, "w") as after:
        stream = after.add_stream_from_template(before.streams.video[0])
        place = 0
        for packet in before.demux(video=0):
            if packet.size:
                packet.time_base, packet.pts, packet.dts = Fraction(1, 25), place, place
                packet.duration, packet.stream = 1, stream
                after.mux(packet)
                place += 1


def decoded(path: Path) -> list[Image]:
    """Decode all frames packet by packet, and skip packets that cannot be decoded."""
    images: list[Image] = []
    with av.open(path) as container:
        stream = container.streams.video[0]
        for packet in container.demux(stream):
            with suppress(av.InvalidDataError):
                images += [cast(Image, f.to_ndarray(format="rgb24")) for f in stream.decode(packet)]
    return images


def check(path: Path) -> None:
    """Check that iteration, indexing and `every` return the frames that `decoded` returns."""
    expected = decoded(path)
    assert expected
    with VideoFile(path) as video:
        frames = list(video)
        assert [frame.index for frame in frames] == list(range(len(expected)))
        assert (len(video), video.lost) == (len(expected), 0)
        for frame, image in zip(frames, expected, strict=True):
            np.testing.assert_array_equal(frame.image, image)
        times = [frame.time for frame in frames]
        assert times[0] == 0
        assert all(a < b for a, b in pairwise(times))
        order = list(range(len(expected)))
        random.Random(0).shuffle(order)
        for i in order:
            np.testing.assert_array_equal(video[i], expected[i])
        for step in (3, 20):
            kept = list(video.every(step))
            assert [frame.index for frame in kept] == list(range(0, len(expected), step))
            assert [frame.time for frame in kept] == times[::step]
            for frame in kept:
                np.testing.assert_array_equal(frame.image, expected[frame.index])
            assert video.lost == 0
        for step, start in ((1, 7), (1, len(expected) - 1), (3, 5)):
            kept = list(video.every(step, start=start))
            assert [frame.index for frame in kept] == list(range(start, len(expected), step))
            assert [frame.time for frame in kept] == times[start::step]
            for frame in kept:
                np.testing.assert_array_equal(frame.image, expected[frame.index])
            assert video.lost == 0


@pytest.mark.parametrize(
    ("name", "suffix"), [(name, suffix) for name in CODECS for suffix in CODECS[name][3].split()]
)
def test_each_container_and_codec_is_read(tmp_path: Path, name: str, suffix: str) -> None:
    path = tmp_path / f"v.{suffix}"
    encode(path, name)
    check(path)


@pytest.mark.parametrize(
    ("name", "source", "target"),
    [
        *(("h264 reordered", "h264", target) for target in ("mp4", "mov", "mkv", "ts", "flv", "avi")),
        ("h264 reordered", "avi", "mp4"),
        ("hevc", "hevc", "mp4"),
        ("hevc", "hevc", "mkv"),
        ("mpeg2", "m2v", "ts"),
        ("mpeg4", "avi", "mkv"),
        ("h264", "mp4", "mkv"),
    ],
)
def test_files_with_decoding_times_as_presentation_times_are_read(
    tmp_path: Path, name: str, source: str, target: str
) -> None:
    encode(tmp_path / f"raw.{source}", name)
    remux(tmp_path / f"raw.{source}", tmp_path / f"v.{target}")
    check(tmp_path / f"v.{target}")


def packets(path: Path) -> list[tuple[bytes, bool]]:
    with av.open(path) as container:
        return [(bytes(packet), packet.is_keyframe) for packet in container.demux(video=0) if packet.size]


def write_packets(path: Path, template: Path, wanted: list[tuple[bytes, bool, int]]) -> None:
    """Write packets; each has its data, whether it is a key frame, and its time in units of 1/25 s."""
    with av.open(template) as before, av.open(path, "w") as after:
        stream = after.add_stream_from_template(before.streams.video[0])
        decoding = 0
        for data, key, place in wanted:
            packet = Packet(data)
            decoding = place if place < decoding + 100 else decoding + 1
            packet.time_base, packet.pts, packet.dts = Fraction(1, 25), place, decoding
            packet.is_keyframe, packet.stream = key, stream
            after.mux(packet)


def test_hidden_references_of_vp8_are_not_counted(tmp_path: Path) -> None:
    encode(tmp_path / "a.webm", "vp8")
    entries = packets(tmp_path / "a.webm")
    wanted: list[tuple[bytes, bool, int]] = []
    for place, (data, key) in enumerate(entries):
        if place in (5, 14):  # first add a copy of the packet with its "show" bit cleared
            wanted.append((bytes([data[0] & ~0x10]) + data[1:], False, place))
        wanted.append((data, key, place))
    write_packets(tmp_path / "v.webm", tmp_path / "a.webm", wanted)
    assert len(packets(tmp_path / "v.webm")) == COUNT + 2
    check(tmp_path / "v.webm")
    with VideoFile(tmp_path / "v.webm") as video:
        assert len(video) == COUNT


def test_empty_chunks_of_an_avi_are_not_counted(tmp_path: Path) -> None:
    make_video(tmp_path / "a.avi", COUNT, codec="mpeg4")
    entries = packets(tmp_path / "a.avi")
    dropped = (3, 10, 11)
    wanted = [(data, key, n + sum(n >= d for d in dropped)) for n, (data, key) in enumerate(entries)]
    write_packets(tmp_path / "v.avi", tmp_path / "a.avi", wanted)  # the muxer fills gaps with empty chunks
    with av.open(tmp_path / "v.avi") as container:
        assert container.streams.video[0].frames > COUNT
    check(tmp_path / "v.avi")


def test_a_cut_file_starts_at_its_first_decodable_frame(tmp_path: Path) -> None:
    encode(tmp_path / "a.ts", "h264 reordered")
    with av.open(tmp_path / "a.ts") as container:
        starts = [packet.pos for packet in container.demux(video=0) if packet.size]
    (tmp_path / "v.ts").write_bytes((tmp_path / "a.ts").read_bytes()[starts[5] or 0 :])
    expected = len(decoded(tmp_path / "v.ts"))
    with VideoFile(tmp_path / "v.ts") as video:
        frames = list(video)
        assert [frame.index for frame in frames] == list(range(expected))
        assert (len(video), video.lost, frames[0].time) == (expected, 0, 0)


@pytest.mark.parametrize("bad", [[25], [24], [23, 24], [22, 25]])
def test_frames_before_a_damaged_end_are_kept(tmp_path: Path, bad: list[int]) -> None:
    path = tmp_path / "v.mov"
    make_video(path, COUNT, codec="png", pix_fmt="rgb24")
    damage(path, bad)
    good = [i for i in range(COUNT) if i not in bad]
    with VideoFile(path) as video:
        assert [frame.index for frame in video] == good
        assert video.lost == len(bad)
        for i in reversed(good):
            video[i]


def test_frames_after_a_broken_timestamp_are_kept(tmp_path: Path) -> None:
    make_video(tmp_path / "a.mkv", 80, options={"bf": "0"})
    wanted = [(data, key, n) for n, (data, key) in enumerate(packets(tmp_path / "a.mkv"))]
    wanted[20] = (*wanted[20][:2], 5000)
    write_packets(tmp_path / "v.mkv", tmp_path / "a.mkv", wanted)
    with VideoFile(tmp_path / "v.mkv") as video:
        assert [frame.index for frame in video] == list(range(80))
