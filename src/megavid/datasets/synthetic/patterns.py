"""What scenes are drawn with: random streams, colours, and patterns as scalar fields."""

from __future__ import annotations

import colorsys
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
"""float32; NumPy's annotations lose the width in arithmetic."""

Field = Callable[[Floats, Floats], Floats]
"""A scalar field over an object's own x and y, in units of its radius."""


def stream(*key: int) -> np.random.Generator:
    """Random numbers of their own for a key."""
    return np.random.Generator(np.random.PCG64(key))


def colour(hue: float, saturation: float, value: float) -> Floats:
    """RGB float32 (3,), 0 to 255; the hue goes round at 1."""
    return np.array(colorsys.hsv_to_rgb(hue % 1, saturation, value), np.float32) * 255


def inside(distance: Floats, radius: float) -> Floats:
    """How much of a pixel lies on the positive side, from the distance of its centre in radii."""
    inside: Floats = np.clip(0.5 + distance * radius, 0, 1)
    return inside


def cross(x: Floats, y: Floats) -> Floats:
    """Signed distance to a cross, negative inside."""
    long, short = np.maximum(np.abs(x), np.abs(y)), np.minimum(np.abs(x), np.abs(y))
    return np.maximum(long - 0.94, short - 0.33)


def dots(x: Floats, y: Floats) -> Floats:
    """Signed distance to dots on a grid, positive inside."""
    pitch = 0.34
    u, v = x % pitch - pitch / 2, y % pitch - pitch / 2
    away: Floats = np.hypot(u, v)
    return 0.1 - away
