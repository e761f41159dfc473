"""Losses, RoIs and gradients of a training step, compared with recordings of the original release."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from megavid.checkpoints.official import from_official
from megavid.models.base.clip import Clip
from megavid.models.faster_rcnn.faster_rcnn import FasterRCNN
from tests.conftest import network_input, require_shared
from tests.official import official_shapes
from tests.parity.cases import Case, load_case, reference_folder
from tests.parity.recipe import make_weights
from tests.tolerances import recorded_training

pytestmark = pytest.mark.parity

GROUPS = {"ref": "local", "ref_l": "local", "ref_m": "memory", "ref_g": "global"}
"""This project's name for each group of reference frames, by its name in the recordings."""

LOSSES = {
    "objectness": "loss_objectness",
    "proposals": "loss_rpn_box_reg",
    "classes": "loss_classifier",
    "boxes": "loss_box_reg",
}


def case_files() -> list[Path]:
    return sorted(
        path
        for path in reference_folder().rglob("*.json")
        if path.with_suffix(".npz").exists() and '"grad_norm_roi_losses"' in path.read_text()
    )


def clip_of(case: Case, detector: FasterRCNN) -> Clip:
    """Return the clip of a recorded step, without a generator, so that samplers take the first candidates."""
    name = "key" if case.method == "dff" else "local"
    references = {
        GROUPS[theirs].replace("local", name): tuple(frames) for theirs, frames in case.facts["refs"].items()
    }
    unique = list(dict.fromkeys([case.facts["cur"], *(f for group in references.values() for f in group)]))
    video = case.frames()
    return Clip(
        network_input(detector, [video[frame] for frame in unique]),
        {group: tuple(unique.index(f) for f in frames) for group, frames in references.items()},
        torch.tensor(half_open(case.facts["gt_boxes"]), device=detector.device),
        torch.tensor(case.facts["gt_labels"], device=detector.device) - 1,
    )


def half_open(boxes: Any) -> NDArray[np.float32]:
    """Convert inclusive boxes, (N, 4), to half-open ones."""
    return np.asarray(boxes, np.float32).reshape(-1, 4) + np.array([0, 0, 1, 1], np.float32)


def names_of_theirs(shapes: dict[str, Any]) -> dict[str, str]:
    """Map the original's tensor names to this project's."""
    theirs = [name for name in shapes if "cell_anchors" not in name]
    numbered = {name: torch.full(shapes[name], float(i)) for i, name in enumerate(theirs)}
    ours = from_official(numbered)
    return {theirs[int(tensor.flatten()[0])]: name for name, tensor in ours.items()}


def test_recordings_exist_for_every_method() -> None:
    require_shared(reference_folder() / "train")
    methods = {load_case(path).method for path in case_files()}
    assert methods >= {"single_frame", "dff", "fgfa", "rdn_base", "rdn", "mega"}


@pytest.mark.parametrize("path", case_files(), ids=lambda path: path.stem)
def test_losses_and_gradients(path: Path, device: torch.device) -> None:
    from megavid import load_detector
    from megavid.checkpoints.weights import load_state

    case = load_case(path)
    shapes = official_shapes(case.method, case.depth)
    state = {
        name: torch.from_numpy(weights)
        for name, weights in make_weights(shapes, case.facts["weights_salt"]).items()
    }
    detector = load_detector(f"{case.method}_r{case.depth}", device=device, inference=None, **case.limits)
    assert isinstance(detector, FasterRCNN)
    load_state(detector, from_official(state), origin=path.name)
    detector.freeze(stages=2)
    clip, tolerance = clip_of(case, detector), recorded_training(device)
    sampled: list[Tensor] = []
    detector.predictor.register_forward_hook(lambda _, args, out: sampled.extend((args[1], out.logits)))

    losses = detector.losses(clip)

    for ours, theirs in LOSSES.items():
        assert losses[ours].item() == pytest.approx(case.facts["losses"][theirs], rel=tolerance.loss), ours
    boxes, logits = sampled
    recorded = torch.from_numpy(half_open(case.arrays["roi_boxes"]))
    torch.testing.assert_close(boxes.cpu(), recorded, rtol=0, atol=tolerance.pixels)
    recorded = torch.from_numpy(case.arrays["class_logits"])
    torch.testing.assert_close(logits.cpu(), recorded, rtol=0, atol=tolerance.logits)
    check_gradients(case, detector, losses["objectness"] + losses["proposals"], "rpn", shapes)
    check_gradients(case, detector, losses["classes"] + losses["boxes"], "roi", shapes)


def check_gradients(
    case: Case, detector: FasterRCNN, loss: Tensor, part: str, shapes: dict[str, Any]
) -> None:
    ours = names_of_theirs(shapes)
    detector.zero_grad()
    loss.backward(retain_graph=True)
    gradients = {n: p.grad for n, p in detector.named_parameters() if p.grad is not None}
    tolerance = recorded_training(detector.device)
    norms = case.facts[f"grad_norm_{part}_losses"]
    assert norms
    for theirs, norm in norms.items():
        have = gradients[ours[theirs]].cpu().double().norm().item()
        assert have == pytest.approx(norm, rel=tolerance.gradient, abs=1e-5), theirs
