"""Decode single images with Pillow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, ImageOps
from PIL import Image as Pillow
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from megavid.core.errors import InputError
from megavid.core.files.regular_files import check_regular_file
from megavid.core.frames import Image

FORMATS = ("JPEG", "PNG", "BMP", "DIB", "PPM", "TIFF", "WEBP", "GIF", "JPEG2000", "AVIF")
"""Image formats that are read, whatever the file's suffix. Pillow knows more, but some of its readers, such
as the one for EPS, run other programs."""

SIDEWAYS = (5, 6, 7, 8)
"""EXIF orientations that swap width and height."""

_DEEP = ("I", "I;16", "I;16B", "I;16L", "I;16N")
"""Pillow's modes of gray images with more than 8 bits."""


def read_image(path: Path) -> Image:
    """Read an image as RGB, turned the way it is displayed.

    Gray values are copied to all three channels, gray of 12 or 16 bits is scaled to 8 bits, palettes are
    resolved, CMYK is converted, and an alpha channel is dropped without blending. EXIF orientation is
    applied.

    Args:
        path: A file with one picture. Previews and depth maps in JPEG files do not count as pictures.

    Returns:
        RGB uint8 (H, W, 3).

    Raises:
        InputError: The file is not an image, is damaged, contains several pictures, has more pixels than
            Pillow's limit against decompression bombs (178,956,970), or has pixels of unknown range:
            floating-point numbers, signed or 32-bit integers.
    """
    with open_image(path) as image:
        check_single(image, path)
        return decode_image(image, path)


def image_size(path: Path) -> tuple[int, int]:
    """Read the width and height of an image as displayed, from its header.

    Raises:
        InputError: The file is not an image, or `read_image` refuses its kind.
    """
    with open_image(path) as image:
        check_single(image, path)
        check_pixels(image, path)
        width, height = image.size
        # For TIFFs, Pillow already reports the displayed size. For PNGs, `image.getexif()` would decode the
        # whole image, so the base class's method is called.
        if image.format == "TIFF":
            return width, height
        try:
            orientation = Pillow.Image.getexif(image).get(ExifTags.Base.Orientation)
        except Exception as error:  # Pillow's readers raise many kinds of errors
            raise _not_an_image(path, error) from error
        return (height, width) if orientation in SIDEWAYS else (width, height)


def count_pictures(path: Path) -> int:
    """Count the pictures in a file.

    Raises:
        InputError: The file is not an image, or is damaged.
    """
    with open_image(path) as image:
        return len(picture_numbers(image, path))


@contextmanager
def open_image(path: Path) -> Iterator[ImageFile]:
    """Open an image without decoding it.

    Raises:
        InputError: The path is not a regular file, or not an image.
    """
    check_regular_file(path)
    try:
        image = Pillow.open(path, formats=FORMATS)
    except Exception as error:  # Pillow's readers raise many kinds of errors
        raise _not_an_image(path, error) from error
    with image:
        yield image


def check_single(image: ImageFile, path: Path) -> None:
    """Check that a file has only one picture.

    Raises:
        InputError: The file has several pictures, or is damaged.
    """
    count = len(picture_numbers(image, path))
    if count > 1:
        raise InputError(
            f"{path}: expected one picture, got {count} in one file; detect in the file by itself, or save "
            "each as a file of its own"
        )


def picture_numbers(image: ImageFile, path: Path) -> list[int]:
    """Return the indexes of the pictures in a file, without a TIFF's thumbnails, reduced copies and masks.

    Raises:
        InputError: The file is damaged.
    """
    try:
        if image.format == "MPO" or not getattr(image, "is_animated", False):
            return [0]
        count: int = getattr(image, "n_frames", 1)
        if not isinstance(image, TiffImageFile):
            # The default image of an animated PNG may not be part of the animation.
            return list(range(int(getattr(image, "default_image", False)), count))
        pages = []
        for page in range(count):
            image.seek(page)
            if not image.tag_v2.get(_NEW_SUBFILE_TYPE, 0) & _COPY_OR_MASK:
                pages.append(page)
        image.seek(0)
    except Exception as error:  # Pillow's readers raise many kinds of errors
        raise InputError(f"{path}: the image is damaged: {_reason(error)}") from error
    return pages or [0]


_NEW_SUBFILE_TYPE, _COPY_OR_MASK = 254, 1 | 4
_BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339


def decode_image(image: ImageFile, path: Path) -> Image:
    """Decode the current picture of an opened file.

    Returns:
        RGB uint8 (H, W, 3), as displayed.

    Raises:
        InputError: The picture is damaged, or `read_image` refuses its kind.
    """
    check_pixels(image, path)
    if isinstance(image, TiffImageFile) and _data_is_missing(image):  # Pillow would fill in black
        raise InputError(f"{path}: the image is damaged: it has less data than its size requires")
    try:
        return _to_rgb(ImageOps.exif_transpose(image), white=_white(image))
    except Exception as error:  # Pillow's readers raise many kinds of errors
        raise InputError(f"{path}: the image is damaged: {_reason(error)}") from error


def check_pixels(image: ImageFile, path: Path) -> None:
    """Check that the pixel values of a picture have a known range and can be converted to RGB.

    Raises:
        InputError: The pixels are floating-point numbers, signed or 32-bit integers, or in a color space that
            is not converted to RGB.
    """
    kind = ""
    if image.mode == "F":
        kind = "floating-point pixels"
    elif image.mode in ("LAB", "HSV"):
        kind = f"{image.mode} pixels"
    elif isinstance(image, TiffImageFile):
        formats = image.tag_v2.get(_SAMPLE_FORMAT, (1,))
        if any(sample == 2 for sample in formats):
            kind = "signed pixels"
        elif any(sample == 3 for sample in formats):
            kind = "floating-point pixels"
        elif max(image.tag_v2.get(_BITS_PER_SAMPLE, (1,))) > 16:
            kind = "32-bit pixels"
    if kind:
        raise InputError(f"{path}: expected pixels of 8 or 16 bits, got {kind}; save it as 8-bit RGB")


def _data_is_missing(image: TiffImageFile) -> bool:
    """Return whether a TIFF has too few tiles or strips for its size."""
    corners = [tile.extents[2:] for tile in image.tile if tile.extents is not None]
    return (
        bool(corners) and max(x for x, _ in corners) * max(y for _, y in corners) < image.width * image.height
    )


def _white(image: ImageFile) -> tuple[int, int]:
    """Return the values of black and white in a gray image with more than 8 bits."""
    if not isinstance(image, TiffImageFile):
        return 0, 65535
    top = (1 << max(image.tag_v2.get(_BITS_PER_SAMPLE, (16,)))) - 1
    white_is_zero = image.tag_v2.get(_PHOTOMETRIC) == 0  # Pillow only inverts images of up to 8 bits
    return (top, 0) if white_is_zero else (0, top)


def _to_rgb(image: Pillow.Image, *, white: tuple[int, int]) -> Image:
    if image.mode in _DEEP:  # Pillow's convert() would clip values at 255
        black, top = white
        gray = np.clip(np.asarray(image).astype(np.int64), 0, max(black, top))
        if top < black:
            gray, top = black - gray, black
        scaled: NDArray[np.uint8] = ((gray * 255 + top // 2) // top).astype(np.uint8)
        return np.repeat(scaled[..., None], 3, axis=2)
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA")  # Pillow recommends this for palettes with transparency
    return np.array(image.convert("RGB"))


def _not_an_image(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: expected an image: {_reason(error)}")


def _reason(error: Exception) -> str:
    """Return the reason for an error on one line, without the path."""
    words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(words.split()) or type(error).__name__
