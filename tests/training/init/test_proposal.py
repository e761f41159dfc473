"""Numbers in the recipes that `megavid init` proposes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from megavid.core.errors import InputError
from megavid.datasets.table.annotations import AnnotationBuilder, Annotations, load_annotations
from megavid.training.hardware import Hardware
from megavid.training.init.proposal import Proposal, propose
from megavid.training.recipe import Recipe
from megavid.training.step_time import time_step
from tests.datasets.tables import without_boxes
from tests.training.small_run import recipe_values, write_videos

CPU = Hardware("cpu", 1, 0, 2, bfloat16=False)
GPU = Hardware("cuda", 1, 80 * 2**30, 8, bfloat16=True)


def data_set(*, side: int, width: int = 1920, height: int = 1080, frames: int = 100) -> Annotations:
    builder = AnnotationBuilder(("cat",), root=Path("/nowhere"))
    builder.video("clip")
    for frame in range(frames):
        builder.frame(frame, file=f"{frame}.jpg", width=width, height=height)
        builder.box(0, 0, side, side, label=0)
    return builder.build()


def propose_for(data: Annotations, **overrides: Any) -> Proposal:
    given = {path.replace("__", "."): value for path, value in overrides.items()}
    return propose(data, data={"train": [], "val": None}, model=None, hardware=GPU, overrides=given)


def test_anchors_are_in_pixels_of_the_input() -> None:
    # The input is 1000x562 for frames of 1920x1080, so 192 pixels become 100. The four anchors are at least
    # half an octave apart.
    sizes = propose_for(data_set(side=192)).recipe["settings"]["rpn.anchor_sizes"]
    assert sizes == [100, 140, 200, 284]
    # The input is 800x600 for frames of 320x240.
    sizes = propose_for(data_set(side=40, width=320, height=240)).recipe["settings"]["rpn.anchor_sizes"]
    assert sizes[0] == 100


def test_steps_depend_on_the_number_of_frames() -> None:
    # 12 passes over the frames at 4 clips per step, and at least 6,000 steps.
    for frames, steps in ((100, 6_000), (4_000, 12_000)):
        recipe = propose_for(data_set(side=50, frames=frames)).recipe
        assert recipe["run"]["steps"] == steps
        assert recipe["optimizer"]["milestones"] == [steps * 4 // 5]
    proposal = propose_for(data_set(side=50), run__steps=500, run__batch=2)
    assert proposal.recipe["run"]["batch"] == 2
    assert proposal.reasons["run.steps"].startswith("10.0 passes over 100 frames")


def test_data_without_objects_are_refused() -> None:
    with pytest.raises(InputError, match="no frame to train on"):
        propose_for(without_boxes(data_set(side=50)))


def test_small_objects_enlarge_the_input() -> None:
    # By default, the input is 1000x562 for frames of 1920x1080, and 20 pixels become 10.4. The input may be
    # enlarged by about half.
    settings = propose_for(data_set(side=20)).recipe["settings"]
    assert (settings["input.min_size"], settings["input.max_size"]) == (912, 1520)
    # 28 pixels become 14.6 in the default input, and 16 in an input that is 1.1 times as large.
    proposal = propose_for(data_set(side=28))
    assert proposal.recipe["settings"]["input.min_size"] == 672
    assert "more than 600" in proposal.reasons["settings.input.min_size"]
    # The input is not enlarged if its default size exceeds that of the frames.
    settings = propose_for(data_set(side=10, width=640, height=480)).recipe["settings"]
    assert settings["input.min_size"] == 600
    # A size set by the user is kept, and the anchors fit it: 20 pixels become 11.1 in 1067x600.
    proposal = propose_for(data_set(side=20), input__min_size=600, input__max_size=2000)
    assert proposal.recipe["settings"]["input.min_size"] == 600
    assert proposal.recipe["settings"]["rpn.anchor_sizes"][0] == 12
    assert "smaller than 11 pixels" in proposal.reasons["settings.input.min_size"]


def test_proposal_that_starts_from_a_detector() -> None:
    # The detector has anchors of 24, 40 and 64 pixels at an input of 144.
    start = {"start__detector": "single_frame_generated"}
    proposal = propose_for(data_set(side=40, width=192, height=144), **start)
    assert proposal.recipe["settings"]["rpn.anchor_sizes"] == [24, 40, 64]
    assert "the detector's own" in proposal.reasons["settings.rpn.anchor_sizes"]
    # These anchors do not fit objects of 120 pixels, so three others are chosen.
    proposal = propose_for(data_set(side=120, width=192, height=144), **start)
    assert proposal.recipe["settings"]["rpn.anchor_sizes"] == [120, 168, 240]
    assert "as many as the detector's 24, 40, 64" in proposal.reasons["settings.rpn.anchor_sizes"]
    # 80 of 1920 pixels become 8 of 192; in an input enlarged by about half, the objects have 12 pixels.
    settings = propose_for(data_set(side=80), **start).recipe["settings"]
    assert (settings["input.min_size"], settings["input.max_size"]) == (224, 299)
    assert settings["rpn.anchor_sizes"] == [12, 16, 24]


def test_the_number_of_steps_is_limited() -> None:
    data = data_set(side=50)
    proposal = propose(
        data, data={"train": [], "val": None}, model=None, hardware=GPU, overrides={}, most_steps=700
    )
    assert proposal.recipe["run"]["steps"] == 700
    assert proposal.reasons["run.steps"].endswith("; 6000 would be better, but take too long here")
    assert proposal.recipe["optimizer"]["milestones"] == [560]


@pytest.mark.parametrize("workers", [0, 2])
def test_time_of_a_step_is_measured(tmp_path: Path, workers: int) -> None:
    values = recipe_values(tmp_path, run__batch=4, run__micro_batch=2, run__workers=workers)
    recipe = Recipe.model_validate(values)
    path = write_videos(tmp_path / "videos", videos=1)
    began = time.perf_counter()
    seconds = time_step(recipe, load_annotations(path), CPU)
    # Two micro-batches were computed. A step has two, too, and its time is twice that of the second one.
    assert 0 < seconds < 2 * (time.perf_counter() - began)
