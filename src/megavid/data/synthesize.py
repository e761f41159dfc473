"""Made-up annotated clips: patterned objects of a few classes move over a textured, moving background.

A clip is fixed by its seed. The background and every object draw from random streams of their own, and
where things are at frame t is a closed formula in t. So a longer clip begins with the frames of a shorter
one, and one more object leaves everything else as it was.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from megavid.core.errors import InputError

Floats = NDArray[np.floating]
"""float32; NumPy's annotations lose the width in arithmetic."""

Field = Callable[[Floats, Floats], Floats]
"""A scalar field over an object's own x and y, in units of its radius."""

MIN_SIZE = 16  # pixels; below this the objects are too small to have a shape

_BACKGROUND, _OBJECT = 0, 1  # random streams


@dataclass(frozen=True)
class Clip:
    """A rendered clip and what is in it; T frames, N objects.

    Attributes:
        images: RGB uint8 (T, H, W, 3).
        boxes: float32 (T, N, 4), half-open x1 y1 x2 y2 in pixels, clipped to the frame: all pixels that the
            object touches, even where another one hides it. Zeros where it is not visible.
        labels: int64 (N,), indexes into `CLASSES`.
        track_ids: int64 (N,), one number per object, from 0.
        visible: bool (T, N), false where the object has left the frame entirely.
    """

    images: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    track_ids: NDArray[np.int64]
    visible: NDArray[np.bool_]


def render_clip(*, seed: int, num_frames: int, height: int, width: int, num_objects: int = 4) -> Clip:
    """Render a clip.

    Args:
        seed: Any number >= 0; the same one gives the same clip.
        num_frames: How many frames, >= 1. Frame t is the same whatever this is.
        height: Of a frame in pixels, >= 16.
        width: Of a frame in pixels, >= 16.
        num_objects: How many objects, >= 0; later ones are drawn over earlier ones.

    Raises:
        InputError: A number is too small.
    """
    _check_least("seed", seed, 0)
    _check_least("num_frames", num_frames, 1)
    _check_least("height", height, MIN_SIZE)
    _check_least("width", width, MIN_SIZE)
    _check_least("num_objects", num_objects, 0)

    background = make_background(stream(seed, _BACKGROUND), height, width)
    sprites = [_make_sprite(stream(seed, _OBJECT, i), height, width) for i in range(num_objects)]
    images = np.empty((num_frames, height, width, 3), np.uint8)
    boxes = np.zeros((num_frames, num_objects, 4), np.float32)
    visible = np.zeros((num_frames, num_objects), np.bool_)
    for t in range(num_frames):
        canvas = background.view(t)
        for i, sprite in enumerate(sprites):
            box = sprite.draw(canvas, t)
            if box is not None:
                boxes[t, i], visible[t, i] = box, True
        images[t] = np.clip(canvas + 0.5, 0, 255).astype(np.uint8)
    labels = np.array([sprite.label for sprite in sprites], np.int64)
    return Clip(images, boxes, labels, np.arange(num_objects, dtype=np.int64), visible)


def _check_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise InputError(f"{name}: expected at least {least}, got {value}")


def stream(*key: int) -> np.random.Generator:
    """Random numbers of their own for a key."""
    return np.random.Generator(np.random.PCG64(key))


def _triangle(x: Floats, y: Floats) -> Floats:
    slant = math.sqrt(0.75) * np.abs(x) - 0.5 * y
    return np.maximum(slant, y) - 0.5


def cross(x: Floats, y: Floats) -> Floats:
    """Signed distance to a cross, negative inside."""
    long, short = np.maximum(np.abs(x), np.abs(y)), np.minimum(np.abs(x), np.abs(y))
    return np.maximum(long - 0.94, short - 0.33)


def _star(x: Floats, y: Floats) -> Floats:
    sector = math.tau / 5
    # Folded into half a sector, the outline is one straight edge from the tip (1, 0) to the notch.
    angle = np.abs((np.arctan2(y, x) + sector / 2) % sector - sector / 2)
    radius = np.hypot(x, y)
    notch_x, notch_y = 0.5 * math.cos(sector / 2), 0.5 * math.sin(sector / 2)
    across: Floats = (radius * np.cos(angle) - 1) * notch_y + radius * np.sin(angle) * (1 - notch_x)
    return across / math.hypot(1 - notch_x, notch_y)


def dots(x: Floats, y: Floats) -> Floats:
    """Signed distance to dots on a grid, positive inside."""
    pitch = 0.34
    u, v = x % pitch - pitch / 2, y % pitch - pitch / 2
    away: Floats = np.hypot(u, v)
    return 0.1 - away


# A class is a shape and a pattern. The shape is the signed distance to the outline, negative inside, and fits
# into the circle of radius 1; the pattern is about the distance to the border of two colours.
_KINDS: dict[str, tuple[Field, Field]] = {
    "disc": (lambda x, y: np.hypot(x, y) - 1, lambda x, y: np.sin(9 * x) / 9),
    "ring": (
        lambda x, y: np.abs(np.hypot(x, y) - 0.74) - 0.26,
        lambda x, y: np.hypot(x, y) * np.sin(6 * np.arctan2(y, x)) / 6,
    ),
    "square": (
        lambda x, y: np.maximum(np.abs(x), np.abs(y)) - math.sqrt(0.5),
        lambda x, y: np.sin(9 * x) * np.sin(9 * y) / 9,
    ),
    "triangle": (_triangle, dots),
    "cross": (cross, lambda x, y: math.sqrt(0.5) * (np.abs(x) - np.abs(y))),
    "star": (_star, lambda x, y: np.sin(16 * np.hypot(x, y)) / 16),
}

CLASSES: tuple[str, ...] = tuple(_KINDS)
"""Names of the classes; a label is an index into them."""


@dataclass(frozen=True)
class _Bounce:
    """A position in pixels that goes at a constant speed and turns back at `low` and `high`."""

    start: float
    speed: float
    low: float
    high: float

    def at(self, t: int) -> float:
        span = self.high - self.low
        phase = (self.start - self.low + self.speed * t) % (2 * span)
        return self.low + min(phase, 2 * span - phase)


@dataclass(frozen=True)
class _Swing:
    """A value that swings round `centre` by `reach`."""

    centre: float
    reach: float
    phase: float
    speed: float

    def at(self, t: float) -> float:
        return self.centre + self.reach * math.sin(self.phase + self.speed * t)


@dataclass(frozen=True)
class _Sprite:
    """An object: its class, its looks, and its path (pixels, radians, frames)."""

    label: int
    colours: tuple[Floats, Floats]
    ripples: tuple[tuple[float, float, float], ...]  # x and y frequency, phase: a grain of its own
    x: _Bounce
    y: _Bounce
    radius: _Swing
    turn: float
    spin: float

    def draw(self, canvas: Floats, t: int) -> tuple[int, int, int, int] | None:
        """Paint frame t into `canvas` (H, W, 3) and give the box, or None where no pixel is touched."""
        height, width = canvas.shape[:2]
        x, y, radius = self.x.at(t), self.y.at(t), self.radius.at(t)
        left, top = max(math.floor(x - radius), 0), max(math.floor(y - radius), 0)
        right, bottom = min(math.ceil(x + radius), width), min(math.ceil(y + radius), height)
        if left >= right or top >= bottom:
            return None
        angle = self.turn + self.spin * t
        cos, sin = math.cos(angle) / radius, math.sin(angle) / radius
        dx = np.arange(left, right, dtype=np.float32)[None, :] + (0.5 - x)
        dy = np.arange(top, bottom, dtype=np.float32)[:, None] + (0.5 - y)
        cover, colour = self._paint(cos * dx + sin * dy, cos * dy - sin * dx, radius)
        touched = cover > 0
        columns, rows = np.flatnonzero(touched.any(axis=0)), np.flatnonzero(touched.any(axis=1))
        if columns.size == 0:
            return None
        patch = canvas[top:bottom, left:right]
        patch += cover[..., None] * (colour - patch)
        return (
            left + int(columns[0]),
            top + int(rows[0]),
            left + int(columns[-1]) + 1,
            top + int(rows[-1]) + 1,
        )

    def _paint(self, x: Floats, y: Floats, radius: float) -> tuple[Floats, Floats]:
        """Coverage (h, w) in [0, 1] and colour (h, w, 3) at the object's own coordinates."""
        shape, pattern = _KINDS[CLASSES[self.label]]
        distance = shape(x, y)
        first, second = self.colours
        paint = second + inside(pattern(x, y), radius)[..., None] * (first - second)
        light = 1.04 - 0.18 * (x * x + y * y)
        for across, down, phase in self.ripples:
            light += 0.04 * np.sin(across * x + down * y + phase)
        light *= 1 - 0.75 * inside(distance + 0.07, radius)  # a dark rim
        return inside(-distance, radius), paint * light[..., None]


def inside(distance: Floats, radius: float) -> Floats:
    """How much of a pixel lies on the positive side, from the distance of its centre in radii."""
    inside: Floats = np.clip(0.5 + distance * radius, 0, 1)
    return inside


def _make_sprite(rng: np.random.Generator, height: int, width: int) -> _Sprite:
    short = min(height, width)
    size = short * rng.uniform(0.11, 0.2)
    # The centre turns back inside the frame, or so far outside that nothing of the object is left in it.
    margin = size if rng.random() < 0.7 else -1.5 * size
    heading = rng.uniform(0, math.tau)
    speed = short * rng.uniform(0.006, 0.02)
    hue = rng.random()
    return _Sprite(
        label=int(rng.integers(len(CLASSES))),
        colours=(colour(hue, 0.55, 0.98), colour(hue + rng.uniform(0.3, 0.7), 0.85, 0.5)),
        ripples=tuple((rng.normal(0, 9), rng.normal(0, 9), rng.uniform(0, math.tau)) for _ in range(4)),
        x=_Bounce(rng.uniform(size, width - size), speed * math.cos(heading), margin, width - margin),
        y=_Bounce(rng.uniform(size, height - size), speed * math.sin(heading), margin, height - margin),
        radius=_Swing(size, size * rng.uniform(0.05, 0.2), rng.uniform(0, math.tau), rng.uniform(0.05, 0.15)),
        turn=rng.uniform(0, math.tau),
        spin=rng.uniform(-0.06, 0.06),
    )


@dataclass(frozen=True)
class Background:
    """A picture larger than the frame, and where the frame lies on it."""

    picture: Floats  # (H', W', 3)
    height: int
    width: int
    left: _Swing
    top: _Swing

    def view(self, t: float) -> Floats:
        """Frame t, float32 (H, W, 3), between pixels by linear interpolation."""
        left, top = self.left.at(t), self.top.at(t)
        column, row = int(left), int(top)
        part = self.picture[row : row + self.height + 1, column : column + self.width + 1]
        part = part[:-1] + (top - row) * (part[1:] - part[:-1])
        return part[:, :-1] + (left - column) * (part[:, 1:] - part[:, :-1])


def make_background(rng: np.random.Generator, height: int, width: int) -> Background:
    """Patches and clouds of muted colours, on a camera that sways by up to a tenth of the short side."""
    short = min(height, width)
    reach = short / 10
    left, top = (_Swing(reach, reach, rng.uniform(0, math.tau), rng.uniform(0.03, 0.06)) for _ in range(2))
    size = (height + math.ceil(2 * reach) + 2, width + math.ceil(2 * reach) + 2)
    level = sum(
        (share * _noise(rng, size, short / parts) for share, parts in ((0.5, 2), (0.3, 6), (0.2, 18))),
        start=np.zeros(size, np.float32),
    )
    hue = rng.random()
    stops = [colour(hue + rng.normal(0, 0.08), rng.uniform(0.1, 0.45), v) for v in (0.2, 0.42, 0.6, 0.85)]
    places = [-0.45, -0.12, 0.12, 0.45]
    channels = [np.interp(level, places, [stop[c] for stop in stops]) for c in range(3)]
    picture = np.stack(channels, axis=-1) * (1 + 0.15 * _noise(rng, size, max(short / 120, 1)))[..., None]
    return Background(picture.astype(np.float32), height, width, left, top)


def _noise(rng: np.random.Generator, size: tuple[int, int], cell: float) -> Floats:
    """Smooth noise in about [-1, 1], (height, width); `cell` pixels from one random value to the next."""
    height, width = size
    grid = rng.uniform(-1, 1, (math.ceil(height / cell) + 1, math.ceil(width / cell) + 1)).astype(np.float32)
    frame = (0, 0, width / cell, height / cell)
    smooth = Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC, box=frame)
    return np.asarray(smooth, np.float32)


def colour(hue: float, saturation: float, value: float) -> Floats:
    """RGB float32 (3,), 0 to 255; the hue goes round at 1."""
    return np.array(colorsys.hsv_to_rgb(hue % 1, saturation, value), np.float32) * 255
