"""RDN: which RoIs attend to which other RoIs in each stage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from megavid.core.frames import Image
from megavid.models.base.features import Window
from megavid.models.faster_rcnn.faster_rcnn import RoIFeatures
from megavid.models.methods.rdn import Rdn, RdnBase
from tests.agreement import assert_close
from tests.conftest import build_tiny, network_input

MakeFrames = Callable[[int], list[Image]]


def features_of(detector: RdnBase, frames: list[Image]) -> list[RoIFeatures]:
    return [detector.encode(network_input(detector, [frame]))[0] for frame in frames]


def attended(relation: Any, x: Tensor, boxes: Tensor, y: Tensor, others: Tensor) -> Tensor:
    added: Tensor = relation(x, y, relation.geometry_bias(boxes, others))
    return x + added


@torch.inference_mode()
@pytest.mark.parametrize("method", ["rdn_base", "rdn"])
def test_stages_equal_their_formula(method: str, make_frames: MakeFrames, device: torch.device) -> None:
    detector = build_tiny(method, device)
    assert isinstance(detector, RdnBase)
    frames = features_of(detector, make_frames(7))
    key = frames[3]
    seen: list[Tensor] = []
    detector.predictor.register_forward_hook(lambda module, args, output: seen.append(args[0]))
    detector.predict(
        Window(step=3, key=key, local=frames, global_frames=[], frame_size=(64, 96)),
        detector.initial_memory(),
    )

    y = torch.cat(
        [f.features[:8] for f in frames]
    )  # TINY_METHOD has 8 reference proposals and 3 distilled ones
    others = torch.cat([f.proposals[:8] for f in frames])
    x = attended(detector.relations[0], key.features, key.proposals, y, others)
    x = F.relu(detector.fcs[1](x))
    x = attended(detector.relations[1], x, key.proposals, y, others)
    if isinstance(detector, Rdn):
        best = torch.cat([f.features[:3] for f in frames])
        best_boxes = torch.cat([f.proposals[:3] for f in frames])
        best = attended(detector.advanced_relations[0], best, best_boxes, y, others)
        best = F.relu(detector.advanced_fc(best))
        x = attended(detector.advanced_relations[1], x, key.proposals, best, best_boxes)
    assert_close(seen[0], x)


@torch.inference_mode()
def test_frames_with_few_proposals_are_distilled_separately(
    make_frames: MakeFrames, device: torch.device
) -> None:
    detector = build_tiny("rdn", device)
    assert isinstance(detector, Rdn)
    full, other, third = features_of(detector, make_frames(3))
    few = RoIFeatures(other.image_size, other.proposals[:2], other.features[:2])
    none = RoIFeatures(third.image_size, third.proposals[:0], third.features[:0])
    seen: list[Tensor] = []
    refine = detector.advanced_relations[0].get_submodule("query")
    refine.register_forward_hook(lambda module, args, output: seen.append(args[0]))
    window = Window(step=0, key=full, local=[few, none, full], global_frames=[], frame_size=(64, 96))
    prediction, _ = detector.predict(window, detector.initial_memory())
    assert len(prediction.logits) == len(full.proposals)
    assert torch.equal(torch.cat(seen), torch.cat([few.features, full.features[:3]]))
