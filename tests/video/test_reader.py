"""Opening and reading video files, image folders and streams.

Frame i of every made video has the grey level 7 * i in its left half and a moving texture in its right half,
so that a wrong index or a wrongly decoded reference shows.
"""

from __future__ import annotations

import io
import random
import socket
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from numpy.typing import NDArray
from PIL import Image as Pillow

from megavid.core.errors import InputError
from megavid.core.frames import Image
from megavid.video import live
from megavid.video.reader import ImageFolder, LiveStream, VideoFile, open_input

B_FRAMES = {"bf": "2", "g": "12", "x264-params": "open-gop=1:scenecut=0"}


def picture(i: int, width: int = 64, height: int = 48) -> Image:
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : width // 2] = 7 * i % 252
    texture = np.add.outer(np.arange(height), np.arange(width - width // 2) + 5 * i) * 6 % 256
    image[:, width // 2 :] = texture[..., None]
    return image


def number(image: Image) -> int:
    return round(float(image[:, 4 : image.shape[1] // 2 - 4].mean()) / 7)


def make_video(
    path: Path | io.BytesIO,
    count: int,
    *,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    pix_fmt: str = "yuv420p",
    size: tuple[int, int] = (64, 48),
    times: Sequence[int] | None = None,
    format: str | None = None,  # noqa: A002
    movflags: str = "",
) -> None:
    """Frames at 1/25 s, or at `times` in 1/1000 s."""
    muxer = {"movflags": movflags} if movflags else {}
    with av.open(path, "w", format=format, options=muxer) as container:
        stream = container.add_stream(codec, rate=25, options=options or {})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = size
        stream.pix_fmt = pix_fmt
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for i in range(count):
            frame = VideoFrame.from_ndarray(picture(i, *size), format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[i], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def open_video(path: Path) -> VideoFile:
    video = open_input(path)
    assert isinstance(video, VideoFile)
    return video


def open_folder(spec: str | Path, *, fps: float | None = None) -> ImageFolder:
    folder = open_input(spec, fps=fps)
    assert isinstance(folder, ImageFolder)
    return folder


def check_consistent(video: VideoFile, count: int) -> None:
    """Iteration gives frames 0, 1, ..., and indexing in any order the very same pixels."""
    frames = list(video)
    assert [frame.index for frame in frames] == list(range(count))
    assert len(video) == count
    assert video.lost == 0
    order = [*range(count), *range(count), *reversed(range(count))]
    random.Random(0).shuffle(order[:count])
    for i in order:
        np.testing.assert_array_equal(video[i], frames[i].image)


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


def test_variable_frame_rate_gives_true_times_from_zero(tmp_path: Path) -> None:
    times = [500, 540, 700, 701, 1500, 2500]
    make_video(tmp_path / "v.mkv", 6, times=times)
    video = open_video(tmp_path / "v.mkv")
    np.testing.assert_allclose([frame.time for frame in video], [0, 0.04, 0.2, 0.201, 1.0, 2.0], atol=1e-9)
    assert [number(frame.image) for frame in video] == [0, 1, 2, 3, 4, 5]


def test_one_frame(tmp_path: Path) -> None:
    make_video(tmp_path / "v.mp4", 1)
    check_consistent(open_video(tmp_path / "v.mp4"), 1)


def test_edit_list_that_starts_between_key_frames(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    make_video(path, 30, options=B_FRAMES)
    data = bytearray(path.read_bytes())
    start = data.find(b"elst") + 16  # version, count, duration, then the media time
    media_time = int.from_bytes(data[start : start + 4], "big")
    data[start : start + 4] = (media_time + 5 * 512).to_bytes(4, "big")  # 512 ticks a frame
    path.write_bytes(data)
    video = open_video(path)
    check_consistent(video, 25)
    assert [number(video[i]) for i in range(25)] == list(range(5, 30))
    assert next(iter(video)).time == 0


TURNS = {  # a b c d of the display matrix -> what a viewer does with the picture
    (1, 0, 0, 1): lambda image: image,
    (0, 1, -1, 0): lambda image: np.rot90(image, -1),  # clockwise, as phones held upright write it
    (-1, 0, 0, -1): lambda image: np.rot90(image, 2),
    (0, -1, 1, 0): lambda image: np.rot90(image, 1),
    (-1, 0, 0, 1): np.fliplr,
    (1, 0, 0, -1): np.flipud,
}


@pytest.mark.parametrize("matrix", TURNS)
def test_rotation_is_applied(tmp_path: Path, matrix: tuple[int, int, int, int]) -> None:
    path = tmp_path / "v.mp4"
    make_video(path, 3)
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
    np.testing.assert_array_equal(video[2], expected)
    np.testing.assert_array_equal(list(video)[2].image, expected)


def test_rotation_among_side_data_unknown_to_pyav(tmp_path: Path) -> None:
    image, exif = Pillow.fromarray(picture(3)), Pillow.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "v.mjpeg", format="JPEG", exif=exif, quality=95)
    video = open_video(tmp_path / "v.mjpeg")
    assert (video.width, video.height) == (48, 64)
    # Turned clockwise, the flat left half lies on top.
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


def packet_places(path: Path) -> list[tuple[int, int]]:
    with av.open(path) as container:
        return [(p.pos or 0, p.size) for p in container.demux(video=0) if p.size]


def damage(path: Path, packets: Sequence[int]) -> None:
    data, places = bytearray(path.read_bytes()), packet_places(path)
    for i in packets:
        position, size = places[i]
        data[position : position + size] = bytes(size)
    path.write_bytes(data)


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
    assert [number(video[i]) for i in range(20)] == nearest
    assert [number(video[i]) for i in reversed(range(20))] == nearest[::-1]
    assert capfd.readouterr().err == ""  # FFmpeg keeps its comments to itself


def test_truncated_file_gives_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    make_video(path, 30, movflags="+faststart", options={"bf": "0"})
    position, _ = packet_places(path)[12]
    path.write_bytes(path.read_bytes()[: position + 1])
    video = open_video(path)
    assert [number(frame.image) for frame in video] == list(range(12))
    assert video.lost == 18


def test_joined_clips_are_counted(tmp_path: Path) -> None:
    make_video(tmp_path / "a.ts", 10, options=B_FRAMES)
    (tmp_path / "b.ts").write_bytes((tmp_path / "a.ts").read_bytes() * 2)
    video = open_video(tmp_path / "b.ts")
    check_consistent(video, 20)
    assert [number(video[i]) for i in range(20)] == [*range(10), *range(10)]
    assert [frame.time for frame in video] == [i / 25 for i in range(20)]


def test_size_change_is_refused(tmp_path: Path) -> None:
    make_video(tmp_path / "a.ts", 10)
    make_video(tmp_path / "b.ts", 5, size=(80, 48))
    joined = tmp_path / "c.ts"
    joined.write_bytes((tmp_path / "a.ts").read_bytes() + (tmp_path / "b.ts").read_bytes())
    video = open_video(joined)
    with pytest.raises(InputError, match=r"c\.ts.*frame 10 is 80x48 after 64x48"):
        list(video)
    with pytest.raises(InputError, match=r"frame 12 is 80x48 after 64x48"):
        video[12]


def test_indexing_from_threads_during_iteration(tmp_path: Path) -> None:
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


def make_audio(path: Path) -> None:
    with av.open(path, "w") as container:
        stream = container.add_stream("libmp3lame", rate=44100)
        assert isinstance(stream, av.AudioStream)
        silence: NDArray[np.int16] = np.zeros((1, 44100 * 2), np.int16)
        frame = av.AudioFrame.from_ndarray(silence, format="s16", layout="stereo")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def test_what_is_no_video_is_refused_by_name(tmp_path: Path) -> None:
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


def save(path: Path, image: Image, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(image).save(path, **options)  # type: ignore[arg-type]


def test_folder_in_natural_order(tmp_path: Path) -> None:
    names = ["img2.png", "img10.PNG", "img10b.bmp", "img700.tiff", "img0701.JPEG", "img702.webp"]
    for i, name in enumerate(names):
        save(tmp_path / name, picture(i))
    for other in ("labels.txt", "a.json", ".hidden.png", "._img2.png", "clip.mp4"):
        (tmp_path / other).write_text("no image")
    (tmp_path / "folder.png").mkdir()
    folder = open_folder(tmp_path)
    assert [path.name for path in folder.paths] == names
    assert (folder.name, folder.rate, len(folder)) == (tmp_path.name, Fraction(25), 6)
    assert (folder.width, folder.height) == (64, 48)
    assert [(f.index, f.time, number(f.image)) for f in folder] == [(i, i / 25, i) for i in range(6)]
    assert number(folder[4]) == 4
    with pytest.raises(IndexError):
        folder[6]


def test_folder_rate(tmp_path: Path) -> None:
    save(tmp_path / "a.png", picture(0))
    assert open_folder(tmp_path, fps=30000 / 1001).rate == Fraction(30000, 1001)
    assert open_folder(tmp_path, fps=0.0001).rate > 0
    for fps in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="fps"):
            open_input(tmp_path, fps=fps)


def test_patterns_and_single_images(tmp_path: Path) -> None:
    for i, name in enumerate(["x/a1.png", "x/a3.png", "x/y/a20.png"]):
        save(tmp_path / name, picture(i))
    save(tmp_path / "x/b.jpg", picture(9))
    assert [p.name for p in open_folder(f"{tmp_path}/x/a*.png").paths] == ["a1.png", "a3.png"]
    assert len(open_folder(f"{tmp_path}/**/*.png")) == 3
    single = open_folder(tmp_path / "x" / "b.jpg")
    assert (len(single), single.name, number(single[0])) == (1, "b.jpg", 9)
    with pytest.raises(InputError, match=r"z\*\.png"):
        open_input(f"{tmp_path}/z*.png")


def test_folder_without_images_names_the_suffixes(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(InputError, match=rf"{tmp_path.name}.*\.jpg.*\.png"):
        open_input(tmp_path)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tiff", "webp"])
def test_exif_orientation(tmp_path: Path, suffix: str) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = 6  # to be shown turned clockwise
    save(tmp_path / f"a.{suffix}", picture(3), exif=exif)
    save(tmp_path / "b.png", np.ascontiguousarray(np.rot90(picture(3), -1)))
    folder = open_folder(tmp_path)
    assert (folder.width, folder.height) == (48, 64)
    assert np.abs(folder[0].astype(int) - folder[1]).mean() < 3


def test_every_mode_becomes_rgb(tmp_path: Path) -> None:
    grey = np.full((4, 6), 100, np.uint8)
    palette = Pillow.new("P", (6, 4), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    palette.save(tmp_path / "palette.png", transparency=bytes([0, 128]))
    Pillow.fromarray(grey).save(tmp_path / "grey.png")
    Pillow.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "grey16.png")
    Pillow.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "grey16.tif")
    Pillow.fromarray(grey.astype(np.int32) * 257).save(tmp_path / "grey32.tif")
    Pillow.new("RGBA", (6, 4), (10, 20, 30, 0)).save(tmp_path / "clear.png")
    Pillow.new("LA", (6, 4), (100, 7)).save(tmp_path / "la.png")
    Pillow.new("1", (6, 4), 1).save(tmp_path / "bit.png")
    Pillow.new("CMYK", (6, 4), (0, 255, 255, 0)).save(tmp_path / "cmyk.tif")
    expected = {"palette.png": (10, 20, 30), "clear.png": (10, 20, 30), "bit.png": (255, 255, 255)}
    expected["cmyk.tif"] = (255, 0, 0)
    folder = open_folder(tmp_path)
    assert len(folder) == 9
    for path, frame in zip(folder.paths, folder, strict=True):
        assert frame.image.shape == (4, 6, 3)
        assert (frame.image == expected.get(path.name, (100, 100, 100))).all(), path.name


def test_wrong_images_are_named(tmp_path: Path) -> None:
    save(tmp_path / "a1.png", picture(0))
    save(tmp_path / "a2.png", picture(0, 32, 16))
    with pytest.raises(InputError, match=r"a2\.png.*32x16, a1\.png is 64x48"):
        open_input(tmp_path)
    (tmp_path / "a2.png").write_text("no image")
    with pytest.raises(InputError, match=r"a2\.png: expected an image"):
        open_input(tmp_path)
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    for suffix in ("png", "jpg"):
        whole = tmp_path / f"a2.{suffix}"
        save(whole, noise)
        whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
        folder = open_folder(f"{tmp_path}/a*.{suffix}")
        with pytest.raises(InputError, match=rf"a2\.{suffix}: the image is damaged"):
            list(folder)
        whole.unlink()


@pytest.mark.filterwarnings("error")
def test_large_image(tmp_path: Path) -> None:
    save(tmp_path / "a.bmp", np.zeros((3000, 5000, 3), np.uint8))
    assert open_folder(tmp_path)[0].shape == (3000, 5000, 3)


@contextmanager
def serve(data: bytes) -> Iterator[str]:
    """The address of a server that sends the data to whoever connects, then hangs up."""

    def send() -> None:
        connection, _ = server.accept()
        with connection:
            connection.sendall(data)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=send)
        thread.start()
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
        thread.join(10)


def test_live_stream(tmp_path: Path) -> None:
    data = io.BytesIO()
    make_video(data, 30, options={"bf": "2", "tune": "zerolatency"}, format="mpegts")
    with serve(data.getvalue()) as address, open_input(address) as stream:
        assert isinstance(stream, LiveStream)
        assert (stream.name, stream.rate, stream.width, stream.height) == (address, Fraction(25), 64, 48)
        frames = list(stream)
    assert [frame.index for frame in frames] == list(range(30))
    assert [number(frame.image) for frame in frames] == list(range(30))
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(30) / 25, atol=1e-9)


def test_stream_that_cannot_be_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setattr(live, "TIMEOUT", 0.3)
        with pytest.raises(InputError, match=rf"{address}.*no answer in time"):
            open_input(address)
    with pytest.raises(InputError, match=rf"{address}.*refused"):
        open_input(address)
    with pytest.raises(InputError, match="camera 97"):
        open_input("97")
