"""Film a scene with motion blur, noise, and at times defocus and low light."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from megavid.datasets.synthetic.patterns import stream
from megavid.datasets.synthetic.scene import Scene, make_scene

_DEFECTS, _NOISE = 4, 5  # numbers of the random streams
_SHUTTER = 0.9  # exposure as a share of the time between frames
_STEP = 1.5  # pixels that the fastest ball moves between two instants of an exposure
_MOST_INSTANTS = 8

_LEAST_SHOWN, _MOST_HIDDEN, _MOST_BLUR, _MOST_DEFOCUS = 0.3, 0.5, 0.45, 0.09
"""Limits within which a ball's class is visible in a single frame.

They are the least value of `Ball.shows`, the largest hidden share of the ball, and the largest motion blur
and defocus, both relative to the ball's radius.
"""


@dataclass(frozen=True)
class SyntheticFrame:
    """A frame and its N visible objects.

    Attributes:
        image: RGB uint8 (H, W, 3).
        boxes: float32 (N, 4), half-open x1 y1 x2 y2, clipped to the frame.
        labels: int64 (N,), indexes into `CLASSES`.
        tracks: int64 (N,), ids; an object has the same id in all frames.
        occluded: bool (N,), whether other things hide a large part of the object.
        clear: bool (N,), whether the class is visible in this frame.
    """

    image: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    tracks: NDArray[np.int64]
    occluded: NDArray[np.bool_]
    clear: NDArray[np.bool_]


@dataclass(frozen=True)
class _Defect:
    """A defect of the camera that comes and goes: its middle and half of its duration, both in frames."""

    middle: float
    half: float
    strength: float

    def at(self, t: float) -> float:
        """Return the strength of the defect at time t."""
        away = abs(t - self.middle) / self.half
        return self.strength * (1 - away * away) ** 2 if away < 1 else 0.0


def film(*, seed: int, video: int, frames: int, height: int, width: int) -> Iterator[SyntheticFrame]:
    """Generate the frames of a video; `height` and `width` are in pixels.

    A frame does not depend on how many frames the video has.
    """
    scene = make_scene(seed=seed, video=video, height=height, width=width)
    for t in range(frames):
        defocus, dark = (_strength(seed, video, kind, t) for kind in (0, 1))
        sigma = 2.6 * defocus * scene.height / 144
        image = _expose(scene, t)
        if sigma > 0.05:
            image = gaussian_filter(image, (sigma, sigma, 0))
        rng = stream(seed, video, _NOISE, t)
        light = 1 - 0.75 * dark
        noise = rng.standard_normal(image.shape, np.float32) * (3 + 9 * dark)
        pixels = (image * light + noise + 0.5).clip(0, 255).astype(np.uint8)
        yield _annotate(scene, pixels, t, sigma)


def _strength(seed: int, video: int, kind: int, t: int) -> float:
    """Return the strength of a kind of defect at frame t.

    In each block of 24 frames, at most one defect of the kind has its middle.
    """
    strongest = 0.0
    for block in (t // 24 - 1, t // 24, t // 24 + 1):
        rng = stream(seed, video, _DEFECTS, kind, block + 1)
        if rng.random() < 0.45:
            defect = _Defect(24 * block + rng.uniform(0, 24), rng.uniform(3, 9), rng.uniform(0.5, 1))
            strongest = max(strongest, defect.at(t))
    return strongest


def _expose(scene: Scene, t: int) -> NDArray[np.float32]:
    """Average drawings of the scene at several instants while the shutter is open."""
    instants = 1 + min(math.ceil(max(_speeds(scene, t), default=0.0) * _SHUTTER / _STEP), _MOST_INSTANTS - 1)
    times = t + _SHUTTER * ((np.arange(instants) + 0.5) / instants - 0.5)
    canvas = np.asarray(scene.draw(max(float(times[0]), 0.0)), np.float32)
    for time in times[1:]:
        canvas += scene.draw(max(float(time), 0.0))
    return canvas / np.float32(instants)


def _speeds(scene: Scene, t: int) -> list[float]:
    """Return the speed of each ball in pixels per frame."""
    return [
        math.dist(ball.place(max(t - 0.5, 0.0)), ball.place(max(t - 0.5, 0.0) + 1)) for ball in scene.balls
    ]


def _annotate(scene: Scene, image: NDArray[np.uint8], t: int, sigma: float) -> SyntheticFrame:
    speeds = _speeds(scene, t)
    rows = []
    for i, ball in enumerate(scene.balls):
        box = scene.box(i, t)
        whole = (2 * ball.radius) ** 2
        hidden = scene.hidden(i, t)
        if (box[2] - box[0]) * (box[3] - box[1]) < 0.2 * whole or hidden > 0.9:
            continue
        clear = (
            ball.shows(t) > _LEAST_SHOWN
            and hidden < _MOST_HIDDEN
            and speeds[i] * _SHUTTER < _MOST_BLUR * ball.radius
            and sigma < _MOST_DEFOCUS * ball.radius
        )
        rows.append((box, ball.label, i, hidden > 0.3, clear))
    boxes = np.array([row[0] for row in rows], np.float32).reshape(-1, 4)
    labels, tracks = (np.array([row[k] for row in rows], np.int64) for k in (1, 2))
    occluded, clear_ = (np.array([row[k] for row in rows], np.bool_) for k in (3, 4))
    return SyntheticFrame(image, boxes, labels, tracks, occluded, clear_)
