"""Reading folders of images as videos."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from megavid.core.errors import InputError
from megavid.core.frames import Image
from megavid.video.open_input import open_input
from tests.video.videos import number, open_folder, picture


def save(path: Path, image: Image, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(image).save(path, **options)  # type: ignore[arg-type]


def test_images_of_a_folder_are_in_natural_order(tmp_path: Path) -> None:
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


def test_the_frame_rate_of_a_folder(tmp_path: Path) -> None:
    save(tmp_path / "a.png", picture(0))
    assert open_folder(tmp_path, fps=30000 / 1001).rate == Fraction(30000, 1001)
    assert open_folder(tmp_path, fps=0.0001).rate > 0
    for fps in (0.0, -1.0, float("nan"), float("inf"), 1e12, 1e-320):
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


def test_the_message_about_a_folder_without_images_names_the_suffixes(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(InputError, match=rf"{tmp_path.name}.*\.jpg.*\.png"):
        open_input(tmp_path)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tiff", "webp"])
def test_exif_orientation_is_applied(tmp_path: Path, suffix: str) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = 6  # viewers turn the image clockwise
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
    Pillow.new("RGBA", (6, 4), (10, 20, 30, 0)).save(tmp_path / "clear.png")
    Pillow.new("LA", (6, 4), (100, 7)).save(tmp_path / "la.png")
    Pillow.new("1", (6, 4), 1).save(tmp_path / "bit.png")
    Pillow.new("CMYK", (6, 4), (0, 255, 255, 0)).save(tmp_path / "cmyk.tif")
    expected = {"palette.png": (10, 20, 30), "clear.png": (10, 20, 30), "bit.png": (255, 255, 255)}
    expected["cmyk.tif"] = (255, 0, 0)
    folder = open_folder(tmp_path)
    assert len(folder) == 8
    for path, frame in zip(folder.paths, folder, strict=True):
        assert frame.image.shape == (4, 6, 3)
        assert (frame.image == expected.get(path.name, (100, 100, 100))).all(), path.name


def test_messages_name_wrong_images(tmp_path: Path) -> None:
    save(tmp_path / "a1.png", picture(0))
    save(tmp_path / "a2.png", picture(0, 32, 16))
    with pytest.raises(InputError, match=r"a2\.png.*32x16 and a1\.png is 64x48"):
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
def test_a_large_image_is_read_without_a_warning(tmp_path: Path) -> None:
    save(tmp_path / "a.bmp", np.zeros((3000, 5000, 3), np.uint8))
    assert open_folder(tmp_path)[0].shape == (3000, 5000, 3)


def test_a_folder_of_videos_is_refused(tmp_path: Path) -> None:
    for name in ("b.MP4", "a.ts", "notes.txt"):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=r"no images .*; expected one of the videos in it: a.ts, b.MP4$"):
        open_input(str(tmp_path))
