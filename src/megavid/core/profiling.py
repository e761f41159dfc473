"""Names for the stages of a detector's work, as PyTorch's profiler shows them."""

from __future__ import annotations

from torch.profiler import record_function

STAGES = (
    "input",
    "trunk",
    "RPN",
    "conv5",
    "RoI pooling",
    "fully connected",
    "flow",
    "warping",
    "aggregation",
    "choice",
)
"""In the order of the work; a stage's time does not include that of stages within it."""

_PREFIX = "megavid: "


def stage(name: str) -> record_function:
    """A context whose time goes to a stage; it costs next to nothing while nobody profiles."""
    assert name in STAGES, name
    return record_function(_PREFIX + name)


def stage_of(event: str) -> str | None:
    """The stage that an event of the profiler is; None for all others."""
    return event.removeprefix(_PREFIX) if event.startswith(_PREFIX) else None
