"""Name the parts of a detector's work in the output of PyTorch's profiler."""

from __future__ import annotations

from torch.profiler import record_function

PROFILE_RANGES = (
    "input",
    "network",
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
"""Names of the parts, in the order in which they run. The time of a part excludes that of parts within it."""

_PREFIX = "megavid: "


def profile_range(name: str) -> record_function:
    """Return a context manager whose run time the profiler attributes to the part `name`.

    Without a profiler, the context manager costs little time.
    """
    assert name in PROFILE_RANGES, name
    return record_function(_PREFIX + name)


def range_of(event: str) -> str | None:
    """Return the part whose `profile_range` recorded an event of the profiler; None for other events."""
    return event.removeprefix(_PREFIX) if event.startswith(_PREFIX) else None
