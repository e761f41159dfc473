"""Read single images."""

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
"""Pillow's readers that are used, whatever a file's suffix; some others run programs (EPS)."""

SIDEWAYS = (5, 6, 7, 8)
"""EXIF orientations that swap width and height."""

_DEEP = ("I", "I;16", "I;16B", "I;16L", "I;16N")
"""Modes of gray with more than 8 bits."""


def read_image(path: Path) -> Image:
    """Read an image as it is displayed.

    Every image becomes RGB: gray is repeated, gray of 12 or 16 bits is scaled to 8, palettes are resolved,
    CMYK is converted, an alpha channel is dropped without blending. EXIF orientation is applied.

    Args:
        path: A file of one image; of a JPEG file with previews or a depth map, the picture itself.

    Returns:
        RGB uint8 (H, W, 3).

    Raises:
        InputError: The file is no image, is damaged or larger than Pillow's limit against decompression bombs
            (178,956,970 pixels), holds several pictures, or pixels whose range is not known: floating point,
            signed or 32-bit integers.
    """
    with open_image(path) as image:
        check_single(image, path)
        return decode_image(image, path)


def image_size(path: Path) -> tuple[int, int]:
    """Read an image's width and height as displayed, after EXIF orientation, from its header alone.

    Raises:
        InputError: The file is no image, or `read_image` refuses its kind.
    """
    with open_image(path) as image:
        check_single(image, path)
        check_pixels(image, path)
        width, height = image.size
        # TIFF's size is the displayed one already. PNG's own getexif would decode the whole image.
        if image.format == "TIFF":
            return width, height
        try:
            orientation = Pillow.Image.getexif(image).get(ExifTags.Base.Orientation)
        except Exception as error:  # Pillow's readers raise whatever they run into
            raise _no_image(path, error) from error
        return (height, width) if orientation in SIDEWAYS else (width, height)


def count_pictures(path: Path) -> int:
    """Count the pictures that a file holds.

    Raises:
        InputError: The file is no image, or damaged.
    """
    with open_image(path) as image:
        return len(picture_numbers(image, path))


@contextmanager
def open_image(path: Path) -> Iterator[ImageFile]:
    """Open an image without decoding it.

    Raises:
        InputError: The file is no regular file, or no image.
    """
    check_regular_file(path)
    try:
        image = Pillow.open(path, formats=FORMATS)
    except Exception as error:  # Pillow's readers raise whatever they run into
        raise _no_image(path, error) from error
    with image:
        yield image


def check_single(image: ImageFile, path: Path) -> None:
    """Refuse a file that holds several pictures where one is expected.

    Raises:
        InputError: It does, or it is damaged.
    """
    count = len(picture_numbers(image, path))
    if count > 1:
        raise InputError(
            f"{path}: expected one picture, got {count} in one file; detect in the file by itself, or save "
            "each as a file of its own"
        )


def picture_numbers(image: ImageFile, path: Path) -> list[int]:
    """Places in the file of its pictures; a TIFF's thumbnails, reduced copies and masks are none.

    Raises:
        InputError: The file is damaged.
    """
    try:
        if image.format == "MPO" or not getattr(image, "is_animated", False):
            return [0]
        count: int = getattr(image, "n_frames", 1)
        if not isinstance(image, TiffImageFile):
            # An animated PNG's image for those who show no animation may be none of its pictures.
            return list(range(int(getattr(image, "default_image", False)), count))
        pages = []
        for page in range(count):
            image.seek(page)
            if not image.tag_v2.get(_NEW_SUBFILE_TYPE, 0) & _COPY_OR_MASK:
                pages.append(page)
        image.seek(0)
    except Exception as error:  # Pillow's readers raise whatever they run into
        raise InputError(f"{path}: the image is damaged: {_reason(error)}") from error
    return pages or [0]


_NEW_SUBFILE_TYPE, _COPY_OR_MASK = 254, 1 | 4
_BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339


def decode_image(image: ImageFile, path: Path) -> Image:
    """Decode the picture at which the file stands.

    Returns:
        RGB uint8 (H, W, 3), as displayed.

    Raises:
        InputError: It is damaged, or of a kind that `read_image` refuses.
    """
    check_pixels(image, path)
    if isinstance(image, TiffImageFile) and _rows_are_missing(image):  # Pillow would leave them black
        raise InputError(f"{path}: the image is damaged: it has less data than its size asks for")
    try:
        return _to_rgb(ImageOps.exif_transpose(image), white=_white(image))
    except Exception as error:  # Pillow's readers raise whatever they run into
        raise InputError(f"{path}: the image is damaged: {_reason(error)}") from error


def check_pixels(image: ImageFile, path: Path) -> None:
    """Refuse pixels whose range is not known, so that how bright they are would be a guess.

    Raises:
        InputError: They are floating point, signed, integers of 32 bits, or in a color space without RGB.
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


def _rows_are_missing(image: TiffImageFile) -> bool:
    """Whether the parts of a TIFF do not reach its last corner."""
    corners = [tile.extents[2:] for tile in image.tile if tile.extents is not None]
    return (
        bool(corners) and max(x for x, _ in corners) * max(y for _, y in corners) < image.width * image.height
    )


def _white(image: ImageFile) -> tuple[int, int]:
    """The values of black and white, of gray with more than 8 bits."""
    if not isinstance(image, TiffImageFile):
        return 0, 65535
    top = (1 << max(image.tag_v2.get(_BITS_PER_SAMPLE, (16,)))) - 1
    white_is_zero = image.tag_v2.get(_PHOTOMETRIC) == 0  # Pillow inverts up to 8 bits only
    return (top, 0) if white_is_zero else (0, top)


def _to_rgb(image: Pillow.Image, *, white: tuple[int, int]) -> Image:
    if image.mode in _DEEP:  # convert() would clip at 255
        black, top = white
        gray = np.clip(np.asarray(image).astype(np.int64), 0, max(black, top))
        if top < black:
            gray, top = black - gray, black
        scaled: NDArray[np.uint8] = ((gray * 255 + top // 2) // top).astype(np.uint8)
        return np.repeat(scaled[..., None], 3, axis=2)
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA")  # Pillow's advice where there is transparency
    return np.array(image.convert("RGB"))


def _no_image(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: expected an image: {_reason(error)}")


def _reason(error: Exception) -> str:
    """The error's words on one line, without the path that the message has already."""
    words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(words.split()) or type(error).__name__
