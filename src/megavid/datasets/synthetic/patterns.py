"""Random streams, colors, and patterns as scalar fields."""

from __future__ import annotations

import colorsys
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
"""Arrays of float32; NumPy's type annotations do not preserve the precision in arithmetic."""

Field = Callable[[Floats, Floats], Floats]
"""A scalar field over the x and y of an object, in units of its radius."""


def stream(*key: int) -> np.random.Generator:
    """Make an independent random generator for a key."""
    return np.random.Generator(np.random.PCG64(key))


def color(hue: float, saturation: float, value: float) -> Floats:
    """Convert a color to RGB float32 (3,), 0 to 255; the hue has period 1."""
    return np.array(colorsys.hsv_to_rgb(hue % 1, saturation, value), np.float32) * 255


def inside(distance: Floats, radius: float) -> Floats:
    """Return the share of a pixel where a distance is positive, given the distance of its center in radii."""
    inside: Floats = np.clip(0.5 + distance * radius, 0, 1)
    return inside


def cross(x: Floats, y: Floats) -> Floats:
    """Compute the signed distance to a cross, negative inside."""
    long, short = np.maximum(np.abs(x), np.abs(y)), np.minimum(np.abs(x), np.abs(y))
    return np.maximum(long - 0.94, short - 0.33)


def dots(x: Floats, y: Floats) -> Floats:
    """Compute the signed distance to dots on a grid, positive inside."""
    pitch = 0.34
    u, v = x % pitch - pitch / 2, y % pitch - pitch / 2
    away: Floats = np.hypot(u, v)
    return 0.1 - away
