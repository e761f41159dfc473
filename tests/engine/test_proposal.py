"""What `megavid init` proposes, in numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from megavid.core.annotations import AnnotationBuilder, Annotations
from megavid.core.errors import InputError
from megavid.engine.hardware import Hardware
from megavid.engine.proposal import Proposal, propose

GPU = Hardware("cuda", 1, 80 * 2**30, 8, bfloat16=True)


def data_set(*, side: int, width: int = 1920, height: int = 1080, frames: int = 100) -> Annotations:
    builder = AnnotationBuilder(("cat",), root=Path("/nowhere"))
    builder.video("clip")
    for frame in range(frames):
        builder.frame(frame, file=f"{frame}.jpg", width=width, height=height)
        builder.box(0, 0, side, side, label=0)
    return builder.build()


def proposed(data: Annotations, **overrides: Any) -> Proposal:
    given = {path.replace("__", "."): value for path, value in overrides.items()}
    return propose(data, data={"train": [], "val": None}, model=None, hardware=GPU, overrides=given)


def test_anchors_are_in_pixels_of_the_input() -> None:
    # 1920x1080 becomes 1000x562: 192 pixels are 100, and four anchors are half an octave apart at least.
    sizes = proposed(data_set(side=192)).recipe["settings"]["rpn.anchor_sizes"]
    assert sizes == [100, 140, 200, 284]
    # 320x240 becomes 800x600.
    sizes = proposed(data_set(side=40, width=320, height=240)).recipe["settings"]["rpn.anchor_sizes"]
    assert sizes[0] == 100


def test_steps_follow_the_frames() -> None:
    # 12 passes over so many frames, 4 clips a step; 6,000 steps at the least.
    for frames, steps in ((100, 6_000), (4_000, 12_000)):
        recipe = proposed(data_set(side=50, frames=frames)).recipe
        assert recipe["run"]["steps"] == steps
        assert recipe["optimiser"]["drops"] == [steps * 4 // 5]
    proposal = proposed(data_set(side=50), run__steps=500, run__batch=2)
    assert proposal.recipe["run"]["batch"] == 2
    assert proposal.reasons["run.steps"].startswith("10.0 passes over 100 frames")


def test_nothing_to_learn() -> None:
    with pytest.raises(InputError, match="no frame to train on"):
        proposed(data_set(side=50).select_boxes(data_set(side=50).labels > 0))
