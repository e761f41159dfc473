"""Resizing on any device, compared with Pillow."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest
import torch

from megavid.models.layers.resize import resize_bilinear


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((72, 128), (56, 99)),
        ((108, 192), (56, 100)),
        ((48, 64), (60, 80)),
        ((37, 50), (60, 81)),
        ((128, 72), (99, 56)),
        ((3, 5), (300, 500)),
        ((1, 1), (16, 16)),
        ((250, 170), (25, 17)),
        ((17, 25), (170, 250)),
        ((64, 90), (64, 100)),
        ((64, 90), (50, 90)),
    ],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_pixels_are_identical_to_pillows(before: tuple[int, int], after: tuple[int, int], seed: int) -> None:
    frame = np.random.default_rng(seed).integers(0, 256, (*before, 3), dtype=np.uint8)
    if seed:  # with only 0 and 255, rounded weights give results beyond them, which must be clamped
        frame = np.where(frame > 127, np.uint8(255), np.uint8(0))
    image = PIL.Image.fromarray(frame).resize(after[::-1], PIL.Image.Resampling.BILINEAR)
    resized = resize_bilinear(torch.from_numpy(frame)[None], after)
    np.testing.assert_array_equal(resized[0].numpy(), np.asarray(image))
