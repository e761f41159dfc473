"""Generate the weights and videos with which results of the original release were recorded.

The bytes of a tensor depend only on its name, its shape and a salt; those of a video, on its seed and size.
So neither the constants below nor the order in which random numbers are drawn may change.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

_COMPUTED = re.compile(r"cell_anchors")  # a buffer that the model computes
_BATCH_NORM = re.compile(r"\.(bn[123]|downsample\.1)\.")
_TRANSPOSED = re.compile(r"flownet\.(deconv|upsample_flow)")

# Standard deviations of weights relative to He initialization, where they differ from 1.
_GAINS: dict[re.Pattern[str], float] = {
    re.compile(pattern): gain
    for pattern, gain in {
        r"body\.stem\.conv1": 1 / 30,
        r"rpn\.head\.(conv|cls_logits)": 1.6,
        r"rpn\.head\.bbox_pred": 0.15,
        r"predictor\.cls_score": 1.7,
        r"predictor\.bbox_pred": 0.8,
        r"extractor\.fc6|fcs\.0": 2.0,
        r"extractor\.fc7": 1.5,
        r"W[qk]s\.": 1.4,
        r"Wgs\.": 0.35,
        r"Wvs\.": 0.5,
        r"flownet\.flow_conv1": 4.0,
        r"flownet\.Convolution([1-4]|5_scale)\.": 0.3,
    }.items()
}


def make_weights(shapes: Mapping[str, Sequence[int]], salt: int) -> dict[str, NDArray[np.float32]]:
    """Generate the weights of a state dict with the original's names.

    Args:
        shapes: Shape of every tensor by name. Anchors, which the model computes, are skipped.
        salt: Number that selects a set of weights.

    Returns:
        float32 arrays by name. Each depends on its name, its shape and the salt alone.
    """
    return {
        name: _tensor(name, tuple(shape), salt)
        for name, shape in shapes.items()
        if not _COMPUTED.search(name)
    }


def _tensor(name: str, shape: tuple[int, ...], salt: int) -> Floats:
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(f"{salt}/{name}".encode())))
    noise = rng.standard_normal(shape, dtype=np.float32)
    if _BATCH_NORM.search(name):
        return _batch_norm(name, noise)
    if "_us." in name:
        return noise * np.float32(0.3)
    if name.endswith("bias"):
        return _bias(name, noise)
    return _filters(name, noise)


def _batch_norm(name: str, noise: Floats) -> Floats:
    small = noise * np.float32(0.1)
    if name.endswith(("bias", "running_mean")):
        return small
    if name.endswith("running_var"):
        variance: Floats = np.clip(small + np.float32(1), np.float32(0.7), np.float32(1.4))
        return variance
    scale: Floats = np.clip(small + np.float32(1), np.float32(0.6), np.float32(1.5))
    # The last norm of a residual block is weak, so that activations do not grow from block to block.
    return scale * np.float32(0.25) if ".bn3." in name else scale


def _bias(name: str, noise: Floats) -> Floats:
    if "Wgs." in name:
        return noise * np.float32(0.3) + np.float32(0.5)
    return noise * np.float32(0.3 if "cls_logits" in name else 0.05)


def _filters(name: str, noise: Floats) -> Floats:
    """Center each filter, except those of transposed convolutions, and scale `noise` to the gain of `name`.

    Works in place, because the largest tensor has 100 million values.
    """
    if _TRANSPOSED.search(name):
        # (inputs, outputs, k, k) at stride 2: a quarter of the taps contribute to each output.
        inputs, _, *kernel = noise.shape
        fan_in = inputs * math.prod(kernel) / 4
    else:
        fan_in = math.prod(noise.shape[1:])
        each = tuple(range(1, noise.ndim))
        noise -= noise.mean(axis=each, dtype=np.float64, keepdims=True).astype(np.float32)
    gain = next((gain for pattern, gain in _GAINS.items() if pattern.search(name)), 1.0)
    noise *= np.float32(gain * math.sqrt(2 / fan_in))
    return noise


@dataclass(frozen=True)
class _Sprite:
    """A moving object with the position of its top left corner in each frame."""

    pixels: Ints  # (h, w, 3), may exceed 0..255
    mask: NDArray[np.bool_]  # (h, w)
    rows: list[int]
    columns: list[int]


def make_video(seed: int, num_frames: int, height: int, width: int) -> NDArray[np.uint8]:
    """Generate a video of four textured shapes that bounce over a panning background, with noise.

    Args:
        seed: Seed of the only random stream.
        num_frames: Number of frames.
        height: Height of a frame, pixels.
        width: Width of a frame, pixels.

    Returns:
        RGB uint8 (num_frames, height, width, 3).
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    scenery = _texture(rng, 2 * height, 2 * width, cell=24, low=20, high=230)
    scenery += _texture(rng, 2 * height, 2 * width, cell=7, low=0, high=60) - 30
    sprites = [_sprite(rng, num_frames, height, width) for _ in range(4)]
    rng.integers(1, 31, size=len(sprites))  # classes, unused here, but drawn before the numbers below
    pan_down, pan_right = int(rng.integers(-2, 3)), int(rng.integers(-3, 4))

    video = np.empty((num_frames, height, width, 3), np.uint8)
    for t in range(num_frames):
        top = (height // 2 + pan_down * t // 2) % height
        left = (width // 2 + pan_right * t // 2) % width
        frame = scenery[top : top + height, left : left + width].copy()
        for sprite in sprites:
            h, w = sprite.mask.shape
            window = frame[sprite.rows[t] : sprite.rows[t] + h, sprite.columns[t] : sprite.columns[t] + w]
            window[sprite.mask] = sprite.pixels[sprite.mask]
        frame += rng.integers(-8, 9, size=frame.shape)
        video[t] = frame.clip(0, 255)
    return video


def _sprite(rng: np.random.Generator, num_frames: int, height: int, width: int) -> _Sprite:
    h = int(rng.integers(height // 5, height // 2))
    w = int(rng.integers(width // 6, width // 2))
    pixels = _texture(rng, h, w, cell=6, low=0, high=256)
    pixels += rng.integers(-90, 91, size=3)
    mask = _ellipse(h, w) if rng.integers(0, 2) else np.ones((h, w), np.bool_)
    top, left = int(rng.integers(0, height - h)), int(rng.integers(0, width - w))
    down, right = int(rng.integers(-5, 6)), int(rng.integers(-7, 8))
    return _Sprite(
        pixels, mask, _path(top, down, height - h, num_frames), _path(left, right, width - w, num_frames)
    )


def _path(start: int, speed: int, limit: int, num_frames: int) -> list[int]:
    """Return a position in [0, limit] for each frame; `speed`, in half pixels, is reversed at both ends."""
    half_pixels, path = 2 * start, []
    for _ in range(num_frames):
        path.append(half_pixels // 2)
        if not 0 <= half_pixels + speed <= 2 * limit:
            speed = -speed
        half_pixels = min(max(half_pixels + speed, 0), 2 * limit)
    return path


def _ellipse(height: int, width: int) -> NDArray[np.bool_]:
    """Return the mask of the ellipse that fills (height, width); exact, since it is computed in integers."""
    down = (2 * np.arange(height, dtype=np.int64) + 1 - height)[:, None] * width
    right = (2 * np.arange(width, dtype=np.int64) + 1 - width)[None, :] * height
    inside: NDArray[np.bool_] = down**2 + right**2 <= (height * width) ** 2
    return inside


def _texture(rng: np.random.Generator, height: int, width: int, *, cell: int, low: int, high: int) -> Ints:
    """Return int64 (height, width, 3): squares of random colors in [low, high), blurred in integers."""
    colors = rng.integers(low, high, size=(height // cell + 3, width // cell + 3, 3))
    picture = colors.repeat(cell, axis=0).repeat(cell, axis=1)
    for axis in (0, 1, 0, 1):
        picture = _box_blur(picture, max(cell // 2, 1), axis)
    return picture[cell : cell + height, cell : cell + width]


def _box_blur(picture: Ints, reach: int, axis: int) -> Ints:
    """Return the mean, rounded down, of 2 * reach + 1 neighbors along an axis with wrap-around."""
    size, taps = picture.shape[axis], 2 * reach + 1
    # The sum of a window is the difference of two cumulative sums.
    around = np.arange(-reach - 1, size + reach) % size
    sums = picture.take(around, axis=axis).cumsum(axis=axis)
    ends, starts = np.arange(taps, taps + size), np.arange(size)
    blurred: Ints = (sums.take(ends, axis=axis) - sums.take(starts, axis=axis)) // taps
    return blurred
