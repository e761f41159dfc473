"""Name the parts of a detector's work in the output of PyTorch's profiler."""

from __future__ import annotations

from torch.profiler import record_function

PROFILE_RANGES = (
    "input",
    "trunk",
    "RPN",
    "conv5",
    "RoI pooling",
    "fully connected",
    "flow",
    "warping",
    "aggregation",
    "post-processing",
)
"""Names of the parts, in the order of the work. The time of a part excludes that of parts within it."""

_PREFIX = "megavid: "


def profile_range(name: str) -> record_function:
    """Return a context whose time the profiler attributes to a range; without a profiler it costs little."""
    assert name in PROFILE_RANGES, name
    return record_function(_PREFIX + name)


def range_of(event: str) -> str | None:
    """Return the range that an event of the profiler belongs to; None for other events."""
    return event.removeprefix(_PREFIX) if event.startswith(_PREFIX) else None
