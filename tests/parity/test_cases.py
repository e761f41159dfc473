"""Detections and intermediate tensors, compared with recordings of the original release."""

from __future__ import annotations

import json
import logging
import os
from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from megavid import detect_video, load_detector
from megavid.core.reference_plans import global_indexes, window_indexes
from megavid.models.acceleration.inference import FAST, Inference
from megavid.models.faster_rcnn.faster_rcnn import FasterRCNN
from megavid.models.method_registry import METHODS
from tests.agreement import assert_close
from tests.conftest import SHARED, network_input, require_shared
from tests.official import OFFICIAL_METHODS, official_shapes, write_official
from tests.parity.cases import (
    MATCHED,
    METHOD_NAMES,
    OURS,
    Case,
    Difference,
    compare,
    is_case,
    load_case,
    reference_folder,
)
from tests.parity.recipe import make_weights
from tests.tolerances import recorded_detections, recorded_raw

pytestmark = pytest.mark.parity

logger = logging.getLogger(__name__)


def case_files() -> list[Path]:
    """Return the project's own cases and all cases in the reference folder."""
    there = sorted(OURS.glob("*.json")) + sorted(reference_folder().rglob("*.json"))
    return [path for path in there if is_case(path)]


def variants_of(path: Path) -> list[str]:
    """Return the keys of `VARIANTS` to test a case with: more than one for the project's own cases."""
    if path.parent != OURS:
        return ["fast"]
    return ["plain", "fast", *(["compiled"] if path.stem in {"mega_R50", "fgfa_R50"} else [])]


VARIANTS = {"plain": Inference.plain(), "fast": FAST, "compiled": Inference(compile=True)}


def load_official(case: Case, path: Path, inference: Inference, device: torch.device) -> FasterRCNN:
    """Load a checkpoint in the original's format; its configuration is inferred from names and shapes."""
    shapes = official_shapes(case.method, case.depth)
    sums = {name: float(w.sum(dtype=np.float64)) for name, w in _some_weights(case, shapes).items()}
    assert sums == pytest.approx(case.facts["weight_sums"], rel=1e-9, abs=1e-12)
    write_official(path, shapes, salt=case.facts["weights_salt"], prefix="module.")
    detector = load_detector(
        weights=path, device=device, overrides=case.overrides, inference=inference, **case.limits
    )
    path.unlink()
    assert type(detector) is METHODS[case.method]
    assert isinstance(detector, FasterRCNN)
    return detector


def _some_weights(case: Case, shapes: dict[str, Any]) -> dict[str, Any]:
    names = case.facts["weight_sums"]
    return make_weights({name: shapes[name] for name in names}, case.facts["weights_salt"])


@dataclass
class Captured:
    """Inputs and outputs of a detector's modules in a run, by module name, in order of calls."""

    inputs: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    outputs: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))

    def watch(self, detector: FasterRCNN) -> None:
        for name, module in detector.named_children():
            module.register_forward_hook(partial(self._record, name))

    def _record(self, name: str, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        self.inputs[name].append(args[0])
        self.outputs[name].append(output)


@pytest.mark.parametrize(
    ("path", "variant"),
    [
        pytest.param(path, variant, id=f"{path.parent.name}/{path.stem}-{variant}")
        for path in case_files()
        for variant in variants_of(path)
    ],
)
def test_detections_and_intermediate_tensors(
    path: Path, variant: str, tmp_path: Path, device: torch.device
) -> None:
    case = load_case(path)
    if case.method not in METHODS:
        pytest.skip(f"{case.method} is not among this version's methods")
    detector = load_official(case, tmp_path / "official.pth", VARIANTS[variant], device)
    captured = Captured()
    captured.watch(detector)
    frames = case.frames()
    results = detect_video(
        detector,
        frames,
        global_order=case.facts.get("shuffled_index"),
        official_quirks=case.facts.get("variant") == "official",
    )
    tolerance = recorded_detections(device, case.method)
    recorded, found = case.recorded_frames(), {}
    for result in results:
        if result.index in recorded:
            found[result.index] = result.detections
        if list(found) == recorded:
            break
    assert list(found) == recorded
    differences = {frame: compare(found[frame], case.detections(frame), case.scale) for frame in recorded}
    for frame, difference in differences.items():
        assert difference.matched >= tolerance.share, f"frame {frame}: {difference}"
        assert difference.pixels <= tolerance.pixels, f"frame {frame}: {difference}"
        assert difference.score <= tolerance.score, f"frame {frame}: {difference}"
    worst = Difference(
        min(difference.matched for difference in differences.values()),
        max(difference.pixels for difference in differences.values()),
        max(difference.score for difference in differences.values()),
    )
    logger.info("%s, %s: %s at the worst", case.name, variant, worst)
    if detector.inference.cuda_graphs:
        return  # a graph computes what modules do without calling them
    for frame in case.captured_frames():
        check_intermediates(case, frame, detector, frames, captured)


def check_intermediates(
    case: Case,
    frame: int,
    detector: FasterRCNN,
    frames: list[Any],
    captured: Captured,
) -> None:
    """Compare the intermediate tensors of one frame with the recorded ones."""
    want = {
        key[5:]: torch.from_numpy(a) for key, a in case.arrays.items() if key.startswith(f"f{frame:03d}_")
    }
    order, quirks = case.facts.get("shuffled_index"), case.facts.get("variant") == "official"
    newest = global_indexes(order, frame, detector.plan.global_frames)[-1] if order else frame
    # When the original detects frame t, it uses the features that it stored for t, but its "current image" is
    # that of the newest global frame. For frame 0, nothing is stored, so it uses that image's features, too.
    current = network_input(detector, [frames[newest if quirks else frame]])
    assert current.shape == tuple(want["input_shape"].tolist())
    close(current[0, :, ::8, ::8], want["input_slice"], 1e-3)
    size = (current.shape[2], current.shape[3])
    with torch.inference_mode():
        if "flow" in want:
            check_flow(want, frame, len(frames), captured, detector)
            c4 = captured.inputs["rpn"][frame]
        else:
            c4 = detector.backbone.c4(
                network_input(detector, [frames[newest if quirks and frame == 0 else frame]])
            )
        check_rpn(want, c4, detector)
        [proposals] = detector.rpn.propose(detector.rpn(c4), size)
        assert same_boxes(proposals, want["proposals"] + torch.tensor([0.0, 0, 1, 1])) >= MATCHED
        if "last_ref_proposals" in want:
            last = newest if order else min(frame + detector.plan.future, len(frames) - 1)
            check_last_reference(want, frames[last], detector)
    prediction, features = captured.outputs["predictor"][frame], captured.inputs["predictor"][frame]
    logits = recorded_raw(detector.device, case.method)
    close(features[:16, :64], want["head_feature_16x64"], logits)
    close(prediction.logits, want["class_logits"], logits)
    close(prediction.deltas[:32], want["box_regression_32"], logits)


def check_last_reference(want: dict[str, Tensor], image: Any, detector: FasterRCNN) -> None:
    images = network_input(detector, [image])
    height, width = images.shape[2:]
    [proposals] = detector.rpn.propose(detector.rpn(detector.backbone.c4(images)), (height, width))
    expected = want["last_ref_proposals"] + torch.tensor([0.0, 0, 1, 1])
    assert same_boxes(proposals[: len(expected)], expected) >= MATCHED


def check_flow(
    want: dict[str, Tensor], frame: int, length: int, captured: Captured, detector: FasterRCNN
) -> None:
    flow, _ = captured.outputs["flow"][frame]
    places = window_indexes(detector.plan, frame, length)
    pairs = list(dict.fromkeys([frame, *places]))  # one flow per distinct frame, beginning with the key frame
    close(flow[[pairs.index(i) for i in places]], want["flow"], 1e-3)
    if "scale_map_slice" in want:
        scale = captured.outputs["scale"][frame] + 1
        step = scale.shape[1] // want["scale_map_slice"].shape[-3]
        close(scale[0, ::step], want["scale_map_slice"].squeeze(0), 1e-3)


def check_rpn(want: dict[str, Tensor], c4: Tensor, detector: FasterRCNN) -> None:
    maps = c4.cpu().double()
    assert_close(torch.stack((maps.mean(), maps.std())), want["rpn_feature_mean_std"], rtol=1e-4, atol=1e-5)
    some = c4[0, ::128]
    step = 1 if some.shape == want["rpn_feature_slice"].shape else 4
    close(some[:, ::step, ::step], want["rpn_feature_slice"], 1e-3)
    x = torch.relu(detector.rpn.conv(c4))
    close(detector.rpn.deltas(x)[0, :, ::6, ::6], want["rpn_reg_slice"], 1e-3)
    if "rpn_cls_logits" in want:
        close(detector.rpn.objectness(x), want["rpn_cls_logits"], 1e-3)


def same_boxes(have: Tensor, want: Tensor) -> float:
    """Return the share of rows in which the boxes agree."""
    assert have.shape == want.shape
    return float(((have.cpu() - want).abs().amax(1) < 0.02).float().mean())


def close(have: Tensor, want: Tensor, tolerance: float) -> None:
    """Assert that at least 99 % of the values agree; if two proposals change places, a few do not."""
    assert have.shape == want.shape
    difference = (have.cpu() - want).abs()
    off = float((difference > tolerance * (1 + want.abs())).float().mean())
    assert off <= 0.01, f"{off:.0%} are off, by up to {float(difference.max())}"


@pytest.mark.parametrize("method", OFFICIAL_METHODS)
@pytest.mark.parametrize("depth", [50, 101])
def test_generated_shapes_equal_the_recorded_ones(method: str, depth: int) -> None:
    names = {ours: theirs for theirs, ours in METHOD_NAMES.items()}
    recorded = (
        require_shared(SHARED / "reference" / "state_dicts") / f"{names.get(method, method)}_R{depth}.json"
    )
    if not recorded.exists():
        pytest.skip(f"{recorded.name} was not recorded")
    shapes = {n: list(s) for n, s in json.loads(recorded.read_text()).items() if "cell_anchors" not in n}
    assert {n: list(s) for n, s in official_shapes(method, depth).items()} == shapes


def test_recordings_of_all_methods_exist() -> None:
    folder = reference_folder()
    if "MEGAVID_REFERENCE" not in os.environ:
        require_shared(folder)
    recorded = {load_case(path).method for path in case_files() if path.parent != OURS}
    assert recorded, f"no recorded cases in {folder}"
    if "MEGAVID_REFERENCE" not in os.environ:
        assert recorded == set(OFFICIAL_METHODS)
