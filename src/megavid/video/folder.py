"""Folders of images as videos."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Self

import numpy as np
from PIL import ExifTags, ImageOps
from PIL import Image as Pillow

from megavid.core.errors import InputError
from megavid.core.frames import Frame, Image

SIDEWAYS = (5, 6, 7, 8)
"""EXIF orientations that swap width and height."""


class ImageFolder:
    """Images that are the frames of a video, all of one size.

    Every image becomes RGB: grey is repeated, 16-bit grey (and Pillow's mode I) is scaled from 0-65535 to
    0-255, palettes are resolved, CMYK is converted, an alpha channel is dropped without blending. EXIF
    orientation is applied.

    Args:
        paths: The image files, in order.
        name: What to call them: the folder's name.
        rate: Frames a second.

    Attributes:
        paths: The image files, in order.
        name: As given.
        rate: As given.
        width: Width in pixels, as displayed.
        height: Height in pixels, as displayed.

    Raises:
        InputError: A file is no image, or its size differs from the first one's; the message names it.
            Also while reading, when an image turns out to be damaged.
    """

    def __init__(self, paths: Sequence[Path], *, name: str, rate: Fraction) -> None:
        self.paths = tuple(paths)
        self.name = name
        self.rate = rate
        self.width, self.height = _displayed_size(self.paths[0])
        for path in self.paths:
            self._check_size(path, *_displayed_size(path))

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[Frame]:
        for index in range(len(self)):
            yield Frame(index, float(index / self.rate), self[index])

    def __getitem__(self, index: int) -> Image:
        """RGB uint8 (H, W, 3) of image `index`; any thread may ask.

        Raises:
            IndexError: Not 0 <= index < len(self).
            InputError: The file is damaged.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"{self.name}: image {index} of {len(self)}")
        image = read_image(self.paths[index])
        self._check_size(self.paths[index], image.shape[1], image.shape[0])
        return image

    def close(self) -> None:
        """Nothing stays open between images."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_size(self, path: Path, width: int, height: int) -> None:
        if (width, height) != (self.width, self.height):
            raise InputError(
                f"{path}: expected images of one size, this one is {width}x{height}, "
                f"{self.paths[0].name} is {self.width}x{self.height}"
            )


def _displayed_size(path: Path) -> tuple[int, int]:
    """Width and height after EXIF orientation, from the file's header alone."""
    try:
        with Pillow.open(path) as image:
            width, height = image.size
            # TIFF's size is the displayed one already. PNG's own getexif would decode the whole image.
            if image.format == "TIFF":
                return width, height
            orientation = Pillow.Image.getexif(image).get(ExifTags.Base.Orientation)
    except Exception as error:  # Pillow's readers raise whatever they run into
        raise InputError(f"{path}: expected an image: {_reason(error)}") from error
    return (height, width) if orientation in SIDEWAYS else (width, height)


def read_image(path: Path) -> Image:
    """One image as RGB uint8 (H, W, 3); see `ImageFolder` for how.

    Raises:
        InputError: There is none, or it is damaged.
    """
    try:
        with Pillow.open(path) as image:
            return _to_rgb(ImageOps.exif_transpose(image))
    except Exception as error:  # Pillow's readers raise whatever they run into
        raise InputError(f"{path}: the image is damaged: {_reason(error)}") from error


def _to_rgb(image: Pillow.Image) -> Image:
    if image.mode == "I" or image.mode.startswith("I;16"):  # convert() would clip at 255
        grey = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
        return np.repeat(((grey * 255 + 32767) // 65535).astype(np.uint8)[..., None], 3, axis=2)
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # Pillow's advice; it warns of the direct way
    return np.array(image.convert("RGB"))


def _reason(error: Exception) -> str:
    """The error's words on one line, without the path that the message has already."""
    words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(words.split()) or type(error).__name__
