"""Reading video files."""

from __future__ import annotations

import gc
import os
import random
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import Image as Pillow

from megavid.core.errors import InputError
from megavid.core.frames import Image
from megavid.video import decode as decoding
from megavid.video.open_input import open_input
from megavid.video.pixels import RgbConverter
from megavid.video.probe import probe_video
from megavid.video.video_writer import VideoWriter
from tests.video.videos import (
    check_consistent,
    damage,
    make_video,
    number,
    open_video,
    packet_places,
    picture,
)

B_FRAMES = {"bf": "2", "g": "12", "x264-params": "open-gop=1:scenecut=0"}


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp4", "libx264", B_FRAMES),
        ("a.mkv", "libx264", B_FRAMES),
        ("a.ts", "libx264", B_FRAMES),
        ("a.avi", "libx264", B_FRAMES),
        ("a.h264", "libx264", B_FRAMES),
        ("b.avi", "mpeg4", {"bf": "2", "b": "4M"}),
        ("a.mpg", "mpeg2video", {"bf": "2", "b": "4M"}),
        ("a.webm", "libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "g": "10"}),
    ],
)
def test_iteration_and_indexing_agree(tmp_path: Path, name: str, codec: str, options: dict[str, str]) -> None:
    make_video(tmp_path / name, 30, codec=codec, options=options)
    with open_video(tmp_path / name) as video:
        check_consistent(video, 30)
        assert [number(video[i]) for i in range(30)] == list(range(30))
        assert (video.name, video.rate, video.width, video.height) == (name, Fraction(25), 64, 48)
        np.testing.assert_allclose([frame.time for frame in video], np.arange(30) / 25, atol=1e-3)
        with pytest.raises(IndexError):
            video[30]
        with pytest.raises(IndexError):
            video[-1]


def test_a_variable_frame_rate_gives_true_times_from_zero(tmp_path: Path) -> None:
    times = [500, 540, 700, 701, 1500, 2500]
    make_video(tmp_path / "v.mkv", 6, times=times)
    video = open_video(tmp_path / "v.mkv")
    np.testing.assert_allclose([frame.time for frame in video], [0, 0.04, 0.2, 0.201, 1.0, 2.0], atol=1e-9)
    assert [number(frame.image) for frame in video] == [0, 1, 2, 3, 4, 5]


def test_a_video_of_one_frame_is_read(tmp_path: Path) -> None:
    make_video(tmp_path / "v.mp4", 1)
    check_consistent(open_video(tmp_path / "v.mp4"), 1)


def test_an_edit_list_may_start_between_key_frames(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    make_video(path, 30, options=B_FRAMES)
    data = bytearray(path.read_bytes())
    start = data.find(b"elst") + 16  # skip the name, version, count and duration
    media_time = int.from_bytes(data[start : start + 4], "big")
    data[start : start + 4] = (media_time + 5 * 512).to_bytes(4, "big")  # a frame has 512 ticks
    path.write_bytes(data)
    video = open_video(path)
    check_consistent(video, 25)
    assert [number(video[i]) for i in range(25)] == list(range(5, 30))
    assert next(iter(video)).time == 0


TURNS = {  # the elements a b c d of a display matrix, and what it does to an image
    (1, 0, 0, 1): lambda image: image,
    (0, 1, -1, 0): lambda image: np.rot90(image, -1),  # a clockwise turn, as in videos from phones
    (-1, 0, 0, -1): lambda image: np.rot90(image, 2),
    (0, -1, 1, 0): lambda image: np.rot90(image, 1),
    (-1, 0, 0, 1): np.fliplr,
    (1, 0, 0, -1): np.flipud,
}


@pytest.mark.parametrize("matrix", TURNS)
def test_rotation_is_applied(tmp_path: Path, matrix: tuple[int, int, int, int]) -> None:
    path = tmp_path / "v.mp4"
    make_video(path, 3, pixel_aspect=Fraction(2, 3))
    upright = open_video(path)[2]
    data = bytearray(path.read_bytes())
    start = data.find(b"tkhd") + 44
    a, b, c, d = matrix
    rows = (a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    data[start : start + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in rows)
    path.write_bytes(data)
    video = open_video(path)
    expected = TURNS[matrix](upright)
    assert (video.height, video.width) == expected.shape[:2]
    assert video.pixel_aspect == (Fraction(2, 3) if a else Fraction(3, 2))
    np.testing.assert_array_equal(video[2], expected)
    np.testing.assert_array_equal(list(video)[2].image, expected)


def test_rotation_is_found_among_side_data_unknown_to_pyav(tmp_path: Path) -> None:
    image, exif = Pillow.fromarray(picture(3)), Pillow.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "v.mjpeg", format="JPEG", exif=exif, quality=95)
    video = open_video(tmp_path / "v.mjpeg")
    assert (video.width, video.height) == (48, 64)
    # After the clockwise turn, the uniform left half of `picture` is at the top.
    assert np.ptp(video[0][:28]) < 10 < np.ptp(video[0][36:])


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "size", "options"),
    [
        ("ffv1", "yuv444p", (33, 17), {}),
        ("ffv1", "yuv420p", (33, 17), {}),
        ("ffv1", "yuv420p10le", (64, 48), {}),
        ("ffv1", "gray", (64, 48), {}),
        ("ffv1", "bgra", (64, 48), {}),
        ("libx264", "yuv420p", (64, 64), {"x264-params": "interlaced=1"}),
        ("libx264", "yuvj420p", (64, 48), {}),
    ],
)
def test_every_pixel_format_gives_rgb(
    tmp_path: Path, codec: str, pix_fmt: str, size: tuple[int, int], options: dict[str, str]
) -> None:
    make_video(tmp_path / "v.mkv", 5, codec=codec, pix_fmt=pix_fmt, size=size, options=options)
    video = open_video(tmp_path / "v.mkv")
    for i, frame in enumerate(video):
        assert frame.image.dtype == np.uint8
        assert frame.image.shape == (size[1], size[0], 3)
        assert number(frame.image) == i
    check_consistent(video, 5)


@pytest.mark.parametrize("bad", [[7], [0], [0, 1], [4, 5, 11], [19]])
def test_undecodable_packets_are_skipped_and_counted(
    tmp_path: Path, bad: list[int], capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "v.mov"
    make_video(path, 20, codec="png", pix_fmt="rgb24")
    damage(path, bad)
    video = open_video(path)
    good = [i for i in range(20) if i not in bad]
    frames = list(video)
    assert [frame.index for frame in frames] == good
    assert [number(frame.image) for frame in frames] == good
    assert [frame.time for frame in frames] == [i / 25 for i in good]
    assert (len(video), video.lost) == (20, len(bad))
    nearest = [max((g for g in good if g <= i), default=good[0]) for i in range(20)]
    for order in (range(20), reversed(range(20))):
        for i in order:
            assert number(video.nearest(i)) == nearest[i]
            if i in good:
                assert number(video[i]) == i
            else:
                with pytest.raises(InputError, match=rf"v\.mov: frame {i} is damaged"):
                    video[i]
    assert capfd.readouterr().err == ""  # FFmpeg has printed nothing


def test_a_truncated_file_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    make_video(path, 30, movflags="+faststart", options={"bf": "0"})
    position, _ = packet_places(path)[12]
    path.write_bytes(path.read_bytes()[: position + 1])
    video = open_video(path)
    assert [number(frame.image) for frame in video] == list(range(12))
    assert video.lost == 18


def test_all_frames_of_joined_clips_are_counted(tmp_path: Path) -> None:
    make_video(tmp_path / "a.ts", 10, options=B_FRAMES)
    (tmp_path / "b.ts").write_bytes((tmp_path / "a.ts").read_bytes() * 2)
    video = open_video(tmp_path / "b.ts")
    check_consistent(video, 20)
    assert [number(video[i]) for i in range(20)] == [*range(10), *range(10)]
    assert [frame.time for frame in video] == [i / 25 for i in range(20)]


def test_a_change_of_the_frame_size_is_refused(tmp_path: Path) -> None:
    make_video(tmp_path / "a.ts", 10)
    make_video(tmp_path / "b.ts", 5, size=(80, 48))
    joined = tmp_path / "c.ts"
    joined.write_bytes((tmp_path / "a.ts").read_bytes() + (tmp_path / "b.ts").read_bytes())
    video = open_video(joined)
    with pytest.raises(InputError, match=r"c\.ts.*frame 10 is 80x48 after 64x48"):
        list(video)
    with pytest.raises(InputError, match=r"frame 12 is 80x48 after 64x48"):
        video[12]


def test_threads_may_index_a_video_during_iteration(tmp_path: Path) -> None:
    make_video(tmp_path / "v.mp4", 30, options=B_FRAMES)
    video = open_video(tmp_path / "v.mp4")
    order = [random.Random(1).randrange(30) for _ in range(60)]
    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(lambda i: number(video[i]), i) for i in order]
        assert [number(frame.image) for frame in video] == list(range(30))
        assert [future.result() for future in asked] == order
    video.close()
    assert number(video[3]) == 3
    video.close()


def threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


@pytest.mark.skipif(sys.platform != "linux", reason="counts the threads that Linux lists")
def test_converting_frames_leaves_no_threads(tmp_path: Path) -> None:
    make_video(tmp_path / "v.mp4", 60, size=(320, 240))
    gc.collect()
    gc.disable()
    try:
        before = threads()
        video = open_video(tmp_path / "v.mp4")
        counts = [threads() for _ in video]
        for i in range(0, 60, 7):
            video[i]
        counts.append(threads())
        with VideoWriter(tmp_path / "w.mp4", rate=Fraction(25), width=320, height=240) as writer:
            writer.write(video[0], 0)
            started = threads()
            for i in range(1, 40):
                writer.write(video[0], i / 25)
            assert threads() <= started
        video.close()
    finally:
        gc.enable()
    assert max(counts) - before <= 2 * ((os.cpu_count() or 1) + 1)  # two decoders may each have some


def test_frames_that_are_skipped_are_not_converted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_video(tmp_path / "v.mp4", 120, options=B_FRAMES)
    video = open_video(tmp_path / "v.mp4")
    converted: list[int] = []
    packets: list[int] = []
    convert, decode = RgbConverter.convert, decoding.decode_packet

    def counted(self: RgbConverter, frame: VideoFrame) -> Image:
        converted.append(1)
        return convert(self, frame)

    def listed(stream: VideoStream, packet: Packet[VideoStream] | None) -> Sequence[VideoFrame | None]:
        packets.append(1)
        return decode(stream, packet)

    monkeypatch.setattr(RgbConverter, "convert", counted)
    monkeypatch.setattr(decoding, "decode_packet", listed)
    assert [number(frame.image) for frame in video.every(50)] == [
        0,
        14,
        28,
    ]  # gray levels repeat every 36 frames
    assert len(converted) == 3
    assert len(packets) < 60


def test_large_frames_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    path = tmp_path / "v.gif"
    make_video(path, 3, codec="gif", pix_fmt="rgb8")
    data = bytearray(path.read_bytes())
    data[6:10] = (16000).to_bytes(2, "little") * 2
    path.write_bytes(data)
    for read in (open_input, probe_video):
        with pytest.raises(InputError, match=r"v\.gif: expected frames of at most 35651584 pixels"):
            read(path)


def make_audio(path: Path) -> None:
    with av.open(path, "w") as container:
        stream = container.add_stream("libmp3lame", rate=44100)
        assert isinstance(stream, av.AudioStream)
        silence: NDArray[np.int16] = np.zeros((1, 44100 * 2), np.int16)
        frame = av.AudioFrame.from_ndarray(silence, format="s16", layout="stereo")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def test_files_without_video_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello\n" * 100)
    (tmp_path / "notes.mp4").write_text("hello\n" * 100)
    (tmp_path / "empty.mp4").write_bytes(b"")
    make_audio(tmp_path / "song.mp3")
    make_video(tmp_path / "ruined.mov", 3, codec="png", pix_fmt="rgb24")
    damage(tmp_path / "ruined.mov", [0, 1, 2])
    for name in ("notes.txt", "notes.mp4", "empty.mp4", "song.mp3", "ruined.mov", "missing.mp4"):
        with pytest.raises(InputError, match=name) as caught:
            open_input(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="empty name"):
        open_input("")
    with pytest.raises(InputError, match="frame rate of its own"):
        open_input(tmp_path / "empty.mp4", fps=10)
