"""Folders of images as videos."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Self

from megavid.core.errors import InputError
from megavid.core.frames import Frame, Image
from megavid.video.images import image_size, read_image


class ImageFolder:
    """Images that are the frames of a video, all of one size, read by `read_image`.

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
        pixel_aspect: 1.

    Raises:
        InputError: A file is no image, or its size differs from the first one's; the message names it.
            Also while reading, when an image turns out to be damaged.
    """

    def __init__(self, paths: Sequence[Path], *, name: str, rate: Fraction) -> None:
        self.paths = tuple(paths)
        self.name = name
        self.rate = rate
        self.pixel_aspect = Fraction(1)
        self.width, self.height = image_size(self.paths[0])
        for path in self.paths:
            self._check_size(path, *image_size(path))

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[Frame]:
        return self.every(1)

    def every(self, n: int) -> Iterator[Frame]:
        """Iterate over the images 0, n, 2n, ...; the others are not read."""
        for index in range(0, len(self), n):
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
