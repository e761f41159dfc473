"""Scenes of balls that roll and spin over a moving background.

The class of a ball is an emblem that is painted on one side of the ball, and cannot be seen while that side
is turned away. Outline, colors and grain are independent of the class. Each part of a scene has a separate
random stream, and a closed formula gives its position at any time t, which is in frames.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from megavid.datasets.synthetic.patterns import Field, Floats, color, cross, dots, inside, stream
from megavid.datasets.synthetic.scenery import Background, make_background

_BACKGROUND, _BALLS, _POSTS, _COUNTS = 0, 1, 2, 3  # numbers of the random streams

_EMBLEMS: dict[str, Field] = {
    "stripes": lambda x, y: np.sin(9 * x) / 9,
    "rings": lambda x, y: np.sin(10 * np.hypot(x, y)) / 10,
    "checks": lambda x, y: np.sin(7 * x) * np.sin(7 * y) / 7,
    "dots": dots,
    "spokes": lambda x, y: np.hypot(x, y) * np.sin(5 * np.arctan2(y, x)) / 5,
    "cross": lambda x, y: -cross(x, y),
}
"""Pattern of each class: approximate signed distance to the border of two colors, in a disc of radius 1."""

CLASSES: tuple[str, ...] = tuple(_EMBLEMS)
"""Class names; a label is an index into these."""

_EMBLEM = 0.88
"""Radius of the emblem relative to that of the ball."""

_PACES = ((0.0, 0.2), (0.35, 0.9), (1.8, 9.0))
"""Ranges of the speeds of slow, medium and fast balls, which are log-uniform.

Speeds are in pixels per frame if the shorter side of a frame has 144 pixels, and proportional to that side.
"""

_SWAYING = (0.8, 0.45, 0.1)
"""Shares of slow, medium and fast balls that sway with their emblem in view, instead of spinning."""


@dataclass(frozen=True)
class _Path:
    """A coordinate that moves back and forth between two ends at a varying speed."""

    start: float
    speed: float
    low: float
    high: float
    rhythm: float  # radians per frame
    phase: float

    def travelled(self, t: float) -> float:
        """Return the distance since the start in pixels; the speed varies from 0.2 to 1.8 times `speed`."""
        swing = 0.8 * (math.sin(self.rhythm * t + self.phase) - math.sin(self.phase)) / self.rhythm
        return self.speed * (t + swing)

    def at(self, t: float) -> float:
        span = self.high - self.low
        place = (self.start - self.low + self.travelled(t)) % (2 * span)
        return self.low + min(place, 2 * span - place)


@dataclass(frozen=True)
class Ball:
    """A ball, which is an object to detect.

    Attributes:
        label: Index into `CLASSES`.
        radius: Radius in pixels.
        x: Path of the center's x coordinate.
        y: Path of the center's y coordinate.
        tilt: Rotation of the emblem in its plane, in radians.
        turn: Rotation around the vertical axis at the start, in radians; the emblem faces the camera at 0.
            For a ball that sways, the phase of the swaying.
        spin: Speed of the rotation, or of the phase of the swaying, in radians per frame.
        sway: Largest rotation to either side of a ball that sways, in radians; 0 for balls that spin.
        colors: Colors of the body, its grain and the emblem.
        ripples: Three frequencies (across, down and in depth) and the phase of each wave of the grain.
    """

    label: int
    radius: float
    x: _Path
    y: _Path
    tilt: float
    turn: float
    spin: float
    sway: float
    colors: tuple[Floats, Floats, Floats]
    ripples: tuple[tuple[float, float, float, float], ...]

    def place(self, t: float) -> tuple[float, float]:
        """Return x and y of the center in pixels at time t."""
        return self.x.at(t), self.y.at(t)

    def turned(self, t: float) -> float:
        """Return the rotation around the vertical axis in radians, by swaying or by rolling and spinning."""
        if self.sway:
            return self.sway * math.sin(self.turn + self.spin * t)
        return self.turn + self.spin * t + self.x.travelled(t) / self.radius

    def draw(self, canvas: Floats, t: float) -> None:
        """Draw the ball into `canvas` (H, W, 3)."""
        height, width = canvas.shape[:2]
        x, y = self.place(t)
        left, top = max(math.floor(x - self.radius), 0), max(math.floor(y - self.radius), 0)
        right, bottom = (
            min(math.ceil(x + self.radius), width),
            min(math.ceil(y + self.radius), height),
        )
        if left >= right or top >= bottom:
            return
        across = (np.arange(left, right, dtype=np.float32)[None, :] + np.float32(0.5 - x)) / self.radius
        down = (np.arange(top, bottom, dtype=np.float32)[:, None] + np.float32(0.5 - y)) / self.radius
        distance = np.hypot(across, down)
        cover = inside(1 - distance, self.radius)
        patch = canvas[top:bottom, left:right]
        patch += cover[..., None] * (self._paint(across, down, distance, t) - patch)

    def _paint(self, across: Floats, down: Floats, distance: Floats, t: float) -> Floats:
        """Return the colors (h, w, 3) of the ball at points `across`, `down` from its center, in radii."""
        depth = np.sqrt(np.clip(1 - distance * distance, 0, None))
        cos, sin = math.cos(self.turned(t)), math.sin(self.turned(t))
        side, front = cos * across - sin * depth, sin * across + cos * depth  # coordinates on the ball
        body, grain, emblem = self.colors
        ripple = np.full_like(side, -0.8)
        for a, b, c, d in self.ripples:
            ripple += np.sin(a * side + b * down + c * front + d)
        colors = body + inside(0.12 * ripple, self.radius)[..., None] * (grain - body)
        roll, lift = math.cos(self.tilt) / _EMBLEM, math.sin(self.tilt) / _EMBLEM
        u, v = roll * side + lift * down, roll * down - lift * side
        plate = inside(1 - np.hypot(u, v), self.radius * _EMBLEM) * inside(front - 0.1, self.radius)
        mark = inside(_EMBLEMS[CLASSES[self.label]](u, v), self.radius * _EMBLEM)
        painted = 0.35 * body + mark[..., None] * (emblem - 0.35 * body)
        colors = colors + plate[..., None] * (painted - colors)
        return colors * (0.55 + 0.5 * depth)[..., None]

    def shows(self, t: float) -> float:
        """Return how far the emblem faces the camera: the cosine of the rotation."""
        return math.cos(self.turned(t))


@dataclass(frozen=True)
class _Post:
    """A vertical bar in the foreground that moves and hides balls."""

    x: _Path
    width: float
    shade: Floats
    ripple: float

    def span(self, t: float) -> tuple[float, float]:
        """Return x of the left and of the right edge in pixels at time t."""
        center = self.x.at(t)
        return center - self.width / 2, center + self.width / 2

    def draw(self, canvas: Floats, t: float) -> None:
        left, right = self.span(t)
        columns = np.arange(canvas.shape[1], dtype=np.float32) + np.float32(0.5)
        cover = np.clip(np.minimum(columns - left, right - columns) + 0.5, 0, 1)
        light = 1 + 0.2 * np.sin(self.ripple * (columns - left))
        canvas += cover[None, :, None] * (self.shade * light[None, :, None] - canvas)


@dataclass(frozen=True)
class Scene:
    """A background with balls and posts.

    Attributes:
        height: Height of the frames in pixels.
        width: Width of the frames in pixels.
        balls: The objects; later ones hide earlier ones.
        posts: Bars in front of the balls.
        background: The background.
    """

    height: int
    width: int
    balls: Sequence[Ball]
    posts: Sequence[_Post]
    background: Background

    def draw(self, t: float) -> Floats:
        """Draw the scene at time t, float32 (H, W, 3), 0 to 255."""
        canvas = self.background.view(t)
        for ball in self.balls:
            ball.draw(canvas, t)
        for post in self.posts:
            post.draw(canvas, t)
        return canvas

    def box(self, ball: int, t: float) -> NDArray[np.float32]:
        """Return the half-open box of a ball, clipped to the frame; it is empty if the ball is outside."""
        x, y = self.balls[ball].place(t)
        r = self.balls[ball].radius
        corners = np.array([x - r, y - r, x + r, y + r], np.float32)
        return corners.clip(0, np.array([self.width, self.height] * 2, np.float32))

    def hidden(self, ball: int, t: float) -> float:
        """Estimate on a grid of points which share of a ball is hidden; only its part in the frame counts."""
        x1, y1, x2, y2 = self.box(ball, t)
        if x2 - x1 < 1 or y2 - y1 < 1:
            return 1.0
        across = np.linspace(x1, x2, 12, dtype=np.float32)[None, :]
        down = np.linspace(y1, y2, 12, dtype=np.float32)[:, None]
        own = self.balls[ball]
        x, y = own.place(t)
        mine = np.hypot(across - x, down - y) < own.radius
        over = np.zeros_like(mine)
        for other in self.balls[ball + 1 :]:
            x, y = other.place(t)
            over |= np.hypot(across - x, down - y) < other.radius
        for post in self.posts:
            left, right = post.span(t)
            over |= (across > left) & (across < right)
        return float((mine & over).sum() / max(mine.sum(), 1))


def make_scene(*, seed: int, video: int, height: int, width: int) -> Scene:
    """Make the scene of a video, with one to four balls and up to two posts."""
    counts = stream(seed, video, _COUNTS)
    hue = counts.random()
    number = int(counts.integers(1, 5))
    balls = [
        _make_ball(stream(seed, video, _BALLS, i), height, width, hue + i / number) for i in range(number)
    ]
    posts = [
        _make_post(stream(seed, video, _POSTS, i), height, width)
        for i in range(int(counts.choice(3, p=(0.4, 0.4, 0.2))))
    ]
    background = make_background(stream(seed, video, _BACKGROUND), height, width)
    return Scene(height, width, balls, posts, background)


def _make_ball(rng: np.random.Generator, height: int, width: int, hue: float) -> Ball:
    short = min(height, width)
    radius = short * rng.uniform(0.12, 0.24)
    kind = int(rng.integers(3))
    low, high = _PACES[kind]
    pace = short / 144 * math.exp(rng.uniform(math.log(low + 0.02), math.log(high)))
    heading = rng.uniform(0, math.tau)
    sways = rng.random() < _SWAYING[kind]
    spin = rng.uniform(0.06, 0.3) * rng.choice((-1, 1))
    own = (color(hue, 0.75, 0.8), color(hue + 0.07, 0.85, 0.5), color(hue + 0.5, 0.35, 1.0))
    return Ball(
        label=int(rng.integers(len(CLASSES))),
        radius=radius,
        x=_make_path(rng, pace * math.cos(heading), 0.6 * radius, width - 0.6 * radius),
        y=_make_path(rng, pace * math.sin(heading), 0.6 * radius, height - 0.6 * radius),
        tilt=rng.uniform(-0.5, 0.5),
        turn=rng.uniform(0, math.tau),
        spin=float(spin),
        sway=rng.uniform(0.2, 0.9) if sways else 0.0,
        colors=own,
        ripples=tuple((*rng.normal(0, 5, 3), rng.uniform(0, math.tau)) for _ in range(4)),
    )


def _make_path(rng: np.random.Generator, speed: float, low: float, high: float) -> _Path:
    rhythm = math.tau / rng.uniform(14, 40)
    return _Path(rng.uniform(low, high), speed, low, high, rhythm, rng.uniform(0, math.tau))


def _make_post(rng: np.random.Generator, height: int, width: int) -> _Post:
    breadth = height * rng.uniform(0.08, 0.2)
    speed = height / 144 * rng.uniform(0.3, 3.0) * rng.choice((-1, 1))
    path = _make_path(rng, float(speed), -breadth, width + breadth)
    return _Post(path, breadth, color(rng.random(), 0.2, rng.uniform(0.2, 0.5)), rng.uniform(0.3, 1.2))
