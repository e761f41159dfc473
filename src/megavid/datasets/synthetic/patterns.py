"""Make random generators, colors, and patterns; a pattern is a scalar field."""

from __future__ import annotations

import colorsys
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
"""Arrays of float32; NumPy's type annotations do not preserve the precision in arithmetic."""

Field = Callable[[Floats, Floats], Floats]
"""A function that returns a number for each point of a ball; x and y are in units of the ball's radius."""


def stream(*key: int) -> np.random.Generator:
    """Make a random generator that is independent of those for other keys."""
    return np.random.Generator(np.random.PCG64(key))


def color(hue: float, saturation: float, value: float) -> Floats:
    """Convert a color from HSV to RGB, float32 (3,), 0 to 255; the hue has period 1."""
    return np.array(colorsys.hsv_to_rgb(hue % 1, saturation, value), np.float32) * 255


def inside(distance: Floats, radius: float) -> Floats:
    """Return the share of each pixel in which a signed distance is positive.

    Args:
        distance: The signed distance at the center of each pixel, in units of the radius.
        radius: The radius in pixels.
    """
    inside: Floats = np.clip(0.5 + distance * radius, 0, 1)
    return inside


def cross(x: Floats, y: Floats) -> Floats:
    """Compute the signed distance to the border of a cross, negative inside."""
    long, short = np.maximum(np.abs(x), np.abs(y)), np.minimum(np.abs(x), np.abs(y))
    return np.maximum(long - 0.94, short - 0.33)


def dots(x: Floats, y: Floats) -> Floats:
    """Compute the signed distance to the border of dots on a grid, positive inside."""
    pitch = 0.34
    u, v = x % pitch - pitch / 2, y % pitch - pitch / 2
    away: Floats = np.hypot(u, v)
    return 0.1 - away
