"""Reading image files with several pictures as videos."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from megavid.core.errors import InputError
from megavid.video.open_input import ImageFolder, ImagePages, open_input
from tests.video.videos import number, picture

COUNT = 6


def save(path: Path, count: int = COUNT, **options: Any) -> None:
    first, *others = (Pillow.fromarray(picture(i)) for i in range(count))
    first.save(path, save_all=True, append_images=others, **options)


KINDS: dict[str, dict[str, Any]] = {
    "v.tif": {},
    "lzw.tiff": {"compression": "tiff_lzw"},
    "v.png": {"duration": 100},
    "default.png": {"duration": 100},
    "v.webp": {"duration": 100, "lossless": True},
}


@pytest.mark.parametrize("name", KINDS)
def test_every_picture_is_a_frame(tmp_path: Path, name: str) -> None:
    if name == "default.png":  # the default image of this file is not part of the animation
        other = Pillow.fromarray(picture(20))
        frames = [Pillow.fromarray(picture(i)) for i in range(COUNT)]
        other.save(tmp_path / name, save_all=True, append_images=frames, default_image=True, duration=100)
    else:
        save(tmp_path / name, **KINDS[name])
    with open_input(tmp_path / name) as pages:
        assert isinstance(pages, ImagePages)
        rate = Fraction(25) if "tif" in name else Fraction(10)
        assert (pages.name, len(pages), pages.rate) == (name, COUNT, rate)
        assert (pages.width, pages.height, pages.pixel_aspect) == (64, 48, Fraction(1))
        frames_read = list(pages)
        assert [(frame.index, number(frame.image)) for frame in frames_read] == [(i, i) for i in range(COUNT)]
        np.testing.assert_allclose([frame.time for frame in frames_read], np.arange(COUNT) / float(rate))
        for i in (5, 0, 3, 4):
            np.testing.assert_array_equal(pages[i], frames_read[i].image)
        kept = list(pages.every(2))
        assert [(frame.index, number(frame.image)) for frame in kept] == [(0, 0), (2, 2), (4, 4)]
        np.testing.assert_allclose([frame.time for frame in kept], [0, 2 / float(rate), 4 / float(rate)])
        kept = list(pages.every(2, start=1))
        assert [(frame.index, number(frame.image)) for frame in kept] == [(i, i) for i in range(1, COUNT, 2)]
        np.testing.assert_allclose(
            [frame.time for frame in kept], [i / float(rate) for i in range(1, COUNT, 2)]
        )
        with pytest.raises(IndexError):
            pages[COUNT]


def test_the_given_rate_applies_only_to_files_without_durations(tmp_path: Path) -> None:
    save(tmp_path / "v.tif")
    save(tmp_path / "v.png", duration=100)
    pages = open_input(tmp_path / "v.tif", fps=5)
    assert isinstance(pages, ImagePages)
    assert (pages.rate, list(pages)[2].time) == (Fraction(5), 0.4)
    with pytest.raises(InputError, match=r"v\.png: has a frame rate of its own"):
        open_input(tmp_path / "v.png", fps=5)


def test_a_file_of_one_picture_is_an_image(tmp_path: Path) -> None:
    save(tmp_path / "v.tif", 1)
    assert isinstance(open_input(tmp_path / "v.tif"), ImageFolder)


def test_pictures_of_several_sizes_are_refused(tmp_path: Path) -> None:
    sizes = ((64, 48), (64, 48), (32, 48))
    first, *others = (Pillow.fromarray(picture(i, *size)) for i, size in enumerate(sizes))
    first.save(tmp_path / "v.tif", save_all=True, append_images=others)
    with pytest.raises(InputError, match=r"v\.tif: .*picture 2 is 32x48 after 64x48"):
        list(open_input(tmp_path / "v.tif"))


def test_messages_name_damaged_files(tmp_path: Path) -> None:
    save(tmp_path / "v.tif", compression="tiff_deflate")
    data = bytearray((tmp_path / "v.tif").read_bytes())
    with Pillow.open(tmp_path / "v.tif") as image:
        image.seek(3)
        start = image.tag_v2[273][0]  # type: ignore[attr-defined]
    data[start : start + 40] = bytes(40)
    (tmp_path / "v.tif").write_bytes(data)
    with pytest.raises(InputError, match=r"v\.tif: .*damaged"):
        list(open_input(tmp_path / "v.tif"))


def test_multi_picture_files_in_a_folder_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "a.tif", 1)
    save(tmp_path / "b.tif", 2)
    with pytest.raises(InputError, match=r"b\.tif: expected one picture, got 2"):
        open_input(tmp_path)
    with pytest.raises(InputError, match=r"b\.tif: expected one picture, got 2"):
        open_input(f"{tmp_path}/*.tif")


def test_pipes_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.tif")
    with pytest.raises(InputError, match=r"pipe\.tif"):
        open_input(tmp_path / "pipe.tif")
