"""The background of a scene: a textured picture, seen by a swaying camera."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from megavid.datasets.synthetic.patterns import Floats, color


@dataclass(frozen=True)
class _Swing:
    """A value that swings around `center` by up to `reach`; `speed` is in radians per frame."""

    center: float
    reach: float
    phase: float
    speed: float

    def at(self, t: float) -> float:
        return self.center + self.reach * math.sin(self.phase + self.speed * t)


@dataclass(frozen=True)
class Background:
    """A picture that is larger than the frame, and the position of the frame on it."""

    picture: Floats  # (H', W', 3)
    height: int
    width: int
    left: _Swing
    top: _Swing

    def view(self, t: float) -> Floats:
        """Return the background at time t, float32 (H, W, 3), interpolated linearly between pixels."""
        left, top = self.left.at(t), self.top.at(t)
        column, row = int(left), int(top)
        part = self.picture[row : row + self.height + 1, column : column + self.width + 1]
        part = part[:-1] + (top - row) * (part[1:] - part[:-1])
        return part[:, :-1] + (left - column) * (part[:, 1:] - part[:, :-1])


def make_background(rng: np.random.Generator, height: int, width: int) -> Background:
    """Make patches and clouds of muted colors, and a camera that sways by up to a tenth of the short side."""
    short = min(height, width)
    reach = short / 10
    left, top = (_Swing(reach, reach, rng.uniform(0, math.tau), rng.uniform(0.03, 0.06)) for _ in range(2))
    size = (height + math.ceil(2 * reach) + 2, width + math.ceil(2 * reach) + 2)
    level = sum(
        (share * _noise(rng, size, short / parts) for share, parts in ((0.5, 2), (0.3, 6), (0.2, 18))),
        start=np.zeros(size, np.float32),
    )
    hue = rng.random()
    stops = [color(hue + rng.normal(0, 0.08), rng.uniform(0.1, 0.45), v) for v in (0.2, 0.42, 0.6, 0.85)]
    places = [-0.45, -0.12, 0.12, 0.45]
    channels = [np.interp(level, places, [stop[c] for stop in stops]) for c in range(3)]
    picture = np.stack(channels, axis=-1) * (1 + 0.15 * _noise(rng, size, max(short / 120, 1)))[..., None]
    return Background(picture.astype(np.float32), height, width, left, top)


def _noise(rng: np.random.Generator, size: tuple[int, int], cell: float) -> Floats:
    """Make smooth noise (height, width) from about -1 to 1, with a random value every `cell` pixels."""
    height, width = size
    grid = rng.uniform(-1, 1, (math.ceil(height / cell) + 1, math.ceil(width / cell) + 1)).astype(np.float32)
    frame = (0, 0, width / cell, height / cell)
    smooth = Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC, box=frame)
    return np.asarray(smooth, np.float32)
