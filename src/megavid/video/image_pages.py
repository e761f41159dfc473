"""Read an image file with several pictures as a video."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Self

from PIL.ImageFile import ImageFile

from megavid.core.errors import InputError
from megavid.core.frames import Frame, Image
from megavid.video.decode import DEFAULT_RATE
from megavid.video.images import decode_image, open_image, picture_numbers


class ImagePages:
    """The pictures of one file (TIFF, animated PNG, WebP or GIF), all of the same size.

    Args:
        path: The file.
        rate: Frames per second, used if the file does not give durations; a TIFF never does.

    Attributes:
        path: The file.
        name: Name of the file without its folder.
        rate: Frames per second; computed from the duration of the first picture if the file gives durations.
        width: Width of the pictures in pixels, as displayed.
        height: Height of the pictures in pixels, as displayed.
        pixel_aspect: Width of a pixel divided by its height, always 1.
        is_timed: Whether the file gives the durations of its pictures.

    Raises:
        InputError: The file is not an image. Reading a picture also raises an `InputError` if the picture is
            damaged, differs in size from the first one, or is of a kind that `read_image` refuses.
    """

    def __init__(self, path: Path, *, rate: Fraction = DEFAULT_RATE) -> None:
        self.path = path
        self.name = path.name
        self.pixel_aspect = Fraction(1)
        with open_image(path) as image:
            self._places = picture_numbers(image, path)
            self.height, self.width = _read(image, self._places[0], path).shape[:2]
            duration = _duration(image)
        self.is_timed = duration is not None
        self.rate = rate if duration is None else 1 / duration

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[Frame]:
        return self.every(1)

    def every(self, n: int, *, start: int = 0) -> Iterator[Frame]:
        """Iterate over pictures `start`, `start` + n and so on."""
        # Durations are only known after decoding.
        first, step = (0, 1) if self.is_timed else (start, n)
        time = first / self.rate
        with open_image(self.path) as image:
            for index in range(first, len(self), step):
                picture = self._picture(image, index)
                if index >= start and (index - start) % n == 0:
                    yield Frame(index, float(time), picture)
                time += _duration(image) or step / self.rate

    def __getitem__(self, index: int) -> Image:
        """Return picture `index` as RGB uint8 (H, W, 3); can be called from any thread.

        Raises:
            IndexError: `index` is out of range.
            InputError: The picture is damaged, or differs in size from the first one.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"{self.path}: picture {index} of {len(self)}")
        with open_image(self.path) as image:
            return self._picture(image, index)

    def close(self) -> None:
        """Do nothing: the file is opened for each picture."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _picture(self, image: ImageFile, index: int) -> Image:
        picture = _read(image, self._places[index], self.path)
        height, width = picture.shape[:2]
        if (width, height) != (self.width, self.height):
            raise InputError(
                f"{self.path}: expected pictures of one size, picture {index} is {width}x{height} "
                f"after {self.width}x{self.height}"
            )
        return picture


def _read(image: ImageFile, place: int, path: Path) -> Image:
    try:
        image.seek(place)
    except Exception as error:  # Pillow's readers raise many kinds of errors
        raise InputError(f"{path}: picture {place} is damaged: {error}") from error
    return decode_image(image, path)


def _duration(image: ImageFile) -> Fraction | None:
    """Return the duration of the current picture in seconds; None if the file has no usable duration."""
    milliseconds = image.info.get("duration")
    if not isinstance(milliseconds, int | float) or not 0 < milliseconds < _LONGEST_DURATION:
        return None
    return Fraction(milliseconds).limit_denominator(1000) / 1000


_LONGEST_DURATION = 1e6
"""Durations from this value on, in milliseconds, are ignored."""
