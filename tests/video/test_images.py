"""Decoding single images."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pillow

from megavid.core.errors import InputError
from megavid.video.images import image_size, read_image

GRAY = np.array([[0, 100, 200, 255]] * 3, np.uint8)


def write_tiff(path: Path, data: bytes, *, bits: int, sample_format: int, photometric: int = 1) -> None:
    """Write an uncompressed, little-endian, gray TIFF of 4x3 pixels."""
    tags = {256: 4, 257: 3, 258: bits, 259: 1, 262: photometric, 277: 1, 278: 3, 339: sample_format}
    start = 8 + 2 + 12 * (len(tags) + 2) + 4
    entries = [(tag, 3, value) for tag, value in tags.items()] + [(273, 4, start), (279, 4, len(data))]
    rows = [struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in sorted(entries)]
    header = struct.pack("<2sHIH", b"II", 42, 8, len(rows))
    path.write_bytes(header + b"".join(rows) + bytes(4) + data)


def twelve_bits() -> bytes:
    values: NDArray[np.uint16] = np.rint(GRAY.astype(float) * 4095 / 255).astype(np.uint16)
    bits = "".join(f"{int(value):012b}" for value in values.ravel())
    return int(bits, 2).to_bytes(18, "big")


@pytest.mark.parametrize(
    ("data", "bits", "photometric"),
    [
        (GRAY.tobytes(), 8, 1),
        ((255 - GRAY).tobytes(), 8, 0),
        ((GRAY.astype("<u2") * 257).tobytes(), 16, 1),
        ((65535 - GRAY.astype("<u2") * 257).tobytes(), 16, 0),
        (twelve_bits(), 12, 1),
    ],
)
def test_gray_images_of_any_depth_and_polarity_are_read(
    tmp_path: Path, data: bytes, bits: int, photometric: int
) -> None:
    path = tmp_path / "a.tif"
    write_tiff(path, data, bits=bits, sample_format=1, photometric=photometric)
    np.testing.assert_array_equal(read_image(path), np.repeat(GRAY[..., None], 3, axis=2))
    assert image_size(path) == (4, 3)


@pytest.mark.parametrize(("bits", "sample_format"), [(8, 2), (16, 2), (32, 1), (32, 2), (32, 3)])
def test_pixels_of_unknown_range_are_refused(tmp_path: Path, bits: int, sample_format: int) -> None:
    kind = f"<{ {1: 'u', 2: 'i', 3: 'f'}[sample_format] }{bits // 8}"
    path = tmp_path / "a.tif"
    write_tiff(path, (GRAY // 2).astype(kind).tobytes(), bits=bits, sample_format=sample_format)
    for read in (read_image, image_size):
        with pytest.raises(InputError, match=r"a\.tif: expected pixels of 8 or 16 bits"):
            read(path)


def test_color_spaces_without_rgb_are_refused(tmp_path: Path) -> None:
    Pillow.fromarray(GRAY / np.float32(255)).save(tmp_path / "a.pfm")
    Pillow.new("LAB", (4, 3), (100, 20, 20)).save(tmp_path / "a.tif")
    (tmp_path / "a.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 3\n%%EndComments\n")
    for name in ("a.pfm", "a.tif", "a.jpg"):
        with pytest.raises(InputError, match=rf"{name}: expected"):
            read_image(tmp_path / name)


def test_several_pictures_are_refused(tmp_path: Path) -> None:
    pages = [Pillow.fromarray(np.full((6, 8, 3), 50 * n, np.uint8)) for n in range(3)]
    for name in ("a.tif", "a.png", "a.webp", "a.gif"):
        pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
        for read in (read_image, image_size):
            with pytest.raises(InputError, match=rf"{name}: expected one picture, got 3"):
                read(tmp_path / name)


def test_thumbnails_and_previews_are_ignored(tmp_path: Path) -> None:
    big, small = (Pillow.fromarray(np.full((h, 2 * h, 3), 90, np.uint8)) for h in (8, 4))
    small.encoderinfo = {"tiffinfo": {254: 1}}
    big.save(tmp_path / "a.tif", save_all=True, append_images=[small])
    big.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[small])
    for name in ("a.tif", "a.jpg"):
        assert image_size(tmp_path / name) == (16, 8)
        assert read_image(tmp_path / name).shape == (8, 16, 3)


def test_a_tiff_with_too_few_rows_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    write_tiff(path, GRAY.tobytes(), bits=8, sample_format=1)
    data = bytearray(path.read_bytes())
    place = data.find(struct.pack("<HHI", 257, 3, 1)) + 8
    data[place : place + 2] = struct.pack("<H", 600)
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"a\.tif: the image is damaged"):
        read_image(path)


def test_pipes_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    for name in ("pipe.png", "zero.png", "missing.png"):
        for read in (read_image, image_size):
            with pytest.raises(InputError, match=name):
                read(tmp_path / name)


def test_a_decompression_bomb_is_refused(tmp_path: Path) -> None:
    Pillow.new("1", (20_000, 20_000)).save(tmp_path / "a.png")
    for read in (read_image, image_size):
        with pytest.raises(InputError, match=r"a\.png: .*pixels"):
            read(tmp_path / "a.png")
