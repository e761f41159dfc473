"""Read a folder of images as a video."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Self

from megavid.core.errors import InputError
from megavid.core.frames import Frame, Image
from megavid.video.images import image_size, read_image


class ImageFolder:
    """Image files of the same size that are the frames of a video.

    Args:
        paths: The image files, in order.
        name: Name of the video, usually that of the folder.
        rate: Frames per second.

    Attributes:
        paths: The image files, in order.
        name: Name of the video.
        rate: Frames per second.
        width: Width of the frames in pixels, as displayed.
        height: Height of the frames in pixels, as displayed.
        pixel_aspect: Width of a pixel divided by its height, always 1.

    Raises:
        InputError: A file is not an image, or differs in size from the first one. Reading a frame also
            raises an `InputError` if its image is damaged.
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

    def every(self, n: int, *, start: int = 0) -> Iterator[Frame]:
        """Iterate over images `start`, `start` + n and so on; the others are not read."""
        for index in range(start, len(self), n):
            yield Frame(index, float(index / self.rate), self[index])

    def __getitem__(self, index: int) -> Image:
        """Return image `index` as RGB uint8 (H, W, 3); can be called from any thread.

        Raises:
            IndexError: `index` is out of range.
            InputError: The image is damaged.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"{self.name}: image {index} of {len(self)}")
        image = read_image(self.paths[index])
        self._check_size(self.paths[index], image.shape[1], image.shape[0])
        return image

    def close(self) -> None:
        """Do nothing: images are opened one at a time."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_size(self, path: Path, width: int, height: int) -> None:
        if (width, height) != (self.width, self.height):
            raise InputError(
                f"{path}: expected images of one size, but this one is {width}x{height} and "
                f"{self.paths[0].name} is {self.width}x{self.height}"
            )
