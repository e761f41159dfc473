"""MEGA: memory, distillation and the choice of global frames."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from megavid import InputError, VideoSession, detect_video
from megavid.core.frames import Image
from megavid.models.base.features import Window
from megavid.models.faster_rcnn.faster_rcnn import RoIFeatures
from megavid.models.layers.relation import Relation
from megavid.models.methods.mega import Mega
from tests.agreement import assert_close
from tests.conftest import TINY_METHOD, build_tiny, network_input

MakeFrames = Callable[[int], list[Image]]


@pytest.fixture
def detector(device: torch.device) -> Mega:
    built = build_tiny("mega", device)
    assert isinstance(built, Mega)
    return built


def features_of(detector: Mega, frames: list[Image], *, proposals: int | None = None) -> list[RoIFeatures]:
    encoded = [detector.encode(network_input(detector, [frame]))[0] for frame in frames]
    return [RoIFeatures(f.image_size, f.proposals[:proposals], f.features[:proposals]) for f in encoded]


@torch.inference_mode()
def test_memory_holds_the_oldest_frames_of_the_last_windows(detector: Mega, make_frames: MakeFrames) -> None:
    frames = features_of(detector, make_frames(7))
    memory = detector.initial_memory()
    for step in range(7):
        window = Window(
            step=step, key=frames[step], local=[frames[step]] * 7, global_frames=[], frame_size=(64, 96)
        )
        _, memory = detector.predict(window, memory)
        kept = list(range(7))[max(0, step - 3) : step + 1]  # TINY_METHOD["memory"] is 4
        for stage, count in zip(memory.stages, (8, 3, 3), strict=True):
            assert [len(rois.boxes) for rois in stage] == [count] * len(kept)
            assert [rois.boxes.tolist() for rois in stage] == [
                frames[i].proposals[:count].tolist() for i in kept
            ]
        # Without global frames, the first stage remembers the encoded features.
        for rois, i in zip(memory.stages[0], kept, strict=True):
            expected = detector.local_relations[0].get_submodule("key")(frames[i].features[:8])
            assert_close(rois.references.keys.flatten(1), expected)


@torch.inference_mode()
def test_memory_is_read_before_it_is_written(detector: Mega, make_frames: MakeFrames) -> None:
    frames = features_of(detector, make_frames(2))
    window = Window(step=0, key=frames[0], local=[frames[0]] * 7, global_frames=[], frame_size=(64, 96))
    first, memory = detector.predict(window, detector.initial_memory())
    again, _ = detector.predict(window, detector.initial_memory())
    remembering, _ = detector.predict(window, memory)
    assert torch.equal(first.logits, again.logits)
    assert not torch.equal(first.logits, remembering.logits)


@torch.inference_mode()
def test_additional_global_stages_are_appended(make_frames: MakeFrames, device: torch.device) -> None:
    detector = build_tiny("mega", device, **{"method.global_stages": 2})
    assert isinstance(detector, Mega)
    frames = features_of(detector, make_frames(2))
    window = Window(step=0, key=frames[0], local=frames, global_frames=frames[1:], frame_size=(64, 96))
    seen: list[Tensor] = []
    detector.predictor.register_forward_hook(lambda module, args, output: seen.append(args[0]))
    last = detector.global_relations[1]
    detector.predict(window, detector.initial_memory())
    detector.global_relations = detector.global_relations[:1]
    detector.predict(window, detector.initial_memory())
    assert_close(seen[0], seen[1] + last(seen[1], frames[1].features[:8]))
    assert not torch.equal(seen[0], seen[1])


@torch.inference_mode()
def test_memory_can_be_disabled(make_frames: MakeFrames, device: torch.device) -> None:
    detector = build_tiny("mega", device, **{"method.memory": 0})
    frames = features_of(detector, make_frames(1))  # type: ignore[arg-type]
    window = Window(step=0, key=frames[0], local=frames * 7, global_frames=[], frame_size=(64, 96))
    _, memory = detector.predict(window, detector.initial_memory())
    assert memory.stages == ((), (), ())


@torch.inference_mode()
def test_memory_owns_its_tensors(detector: Mega, make_frames: MakeFrames) -> None:
    frames = features_of(detector, make_frames(7))
    window = Window(step=0, key=frames[3], local=frames, global_frames=[], frame_size=(64, 96))
    _, memory = detector.predict(window, detector.initial_memory())
    for [rois] in memory.stages:
        for tensor in (rois.references.keys, rois.references.values, rois.boxes):
            assert tensor.untyped_storage().nbytes() == tensor.nbytes


@torch.inference_mode()
def test_frames_with_few_proposals_are_distilled_separately(
    detector: Mega, make_frames: MakeFrames, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = make_frames(3)
    [full] = features_of(detector, images[:1])
    [few] = features_of(detector, images[1:2], proposals=2)
    [none] = features_of(detector, images[2:], proposals=0)
    seen: list[Tensor] = []
    relation = detector.local_relations[1]
    assert isinstance(relation, Relation)
    bias = relation.geometry_bias

    def recording(queries: Tensor, references: Tensor, valid: Tensor | None) -> Tensor:
        assert valid is None
        seen.append(references)
        return bias(queries, references)

    monkeypatch.setattr(relation, "geometry_bias", recording)
    window = Window(
        step=0, key=full, local=[few, none, full], global_frames=[full, none], frame_size=(64, 96)
    )
    prediction, memory = detector.predict(window, detector.initial_memory())
    assert len(prediction.logits) == len(full.proposals)
    expected = torch.cat(
        [few.proposals[:2], full.proposals[:3]]
    )  # the first three proposals of each frame, or all if there are fewer
    assert torch.equal(seen[0], expected)
    assert [len(stage[0].boxes) for stage in memory.stages] == [2, 2, 2]


def test_detections_depend_on_the_order_of_global_frames(detector: Mega, make_frames: MakeFrames) -> None:
    frames = make_frames(12)

    def scores(**options: Any) -> list[float]:
        return [float(r.detections.scores.sum()) for r in detect_video(detector, frames, **options)]

    assert scores(seed=0) == scores(seed=0) != scores(seed=1)
    order = [5, 2, 9, 0, 1, 3, 4, 6, 7, 8, 10, 11]
    assert scores(global_order=np.array(order)) == scores(global_order=order)
    assert scores(global_order=order) == scores(global_order=order) != scores(seed=0)
    # The first frame uses the first three global frames, in any order.
    swapped = [9, 5, 2, *order[3:]]
    assert scores(global_order=swapped)[0] == pytest.approx(scores(global_order=order)[0], rel=1e-5)


def test_quirk_replaces_the_first_frame_with_a_global_frame(detector: Mega, make_frames: MakeFrames) -> None:
    frames = make_frames(12)
    order = [5, 2, 9, 1, 3, 4, 6, 0, 7, 8, 10, 11]
    quirky = list(detect_video(detector, frames, global_order=order, official_quirks=True))
    # Results equal those of the video with frame 5 in place of frame 0, until frame 0 becomes a global frame.
    stand_in = [frames[5], *frames[1:]]
    session = VideoSession(detector, source=frames, global_order=order)
    expected = [r for frame in stand_in for r in session.push(frame)] + session.flush()
    assert len(quirky) == len(expected) == 12
    plain = list(detect_video(detector, frames, global_order=order))
    assert not torch.equal(quirky[0].detections.boxes, plain[0].detections.boxes)
    for result, other in list(zip(quirky, expected, strict=True))[:4]:
        assert_close(result.detections.scores, other.detections.scores)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"global_order": [0, 12]}, "global_order: expected frame numbers from 0 to 11, got 12"),
        ({"global_order": [-1]}, "got -1"),
        ({"global_order": []}, "at least one"),
        ({"global_order": [0.5]}, "global_order: expected frame numbers: 'float' object"),
        ({"seed": -1}, "seed: expected at least 0, got -1"),
        ({"seed": 2**64}, "seed: expected at most 9223372036854775807"),
        ({"fps": float("inf")}, "fps: expected a positive number, got inf"),
        ({"fps": float("nan")}, "fps: expected a positive number, got nan"),
        ({"score_threshold": float("nan")}, "score_threshold: expected"),
        ({"batch_size": 10**9}, "batch_size: expected at most 1024, got 1000000000"),
    ],
)
def test_invalid_options_are_refused(
    detector: Mega, make_frames: MakeFrames, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        detect_video(detector, make_frames(12), **options)


@pytest.mark.parametrize("options", [{"global_order": [0]}, {"official_quirks": True}])
def test_order_of_global_frames_needs_a_whole_video(
    detector: Mega, make_frames: MakeFrames, options: dict[str, Any]
) -> None:
    with pytest.raises(InputError, match="needs source"):
        detect_video(detector, iter(make_frames(3)), **options)


def test_reference_plan_uses_the_settings(detector: Mega) -> None:
    assert (detector.plan.past, detector.plan.future) == (TINY_METHOD["window"],) * 2
    assert detector.plan.global_frames == TINY_METHOD["global_frames"]


def test_without_global_frames_global_relations_are_not_trained(device: torch.device) -> None:
    detector = build_tiny("mega", device, **{"method.global_frames": 0})
    untrained = {name for name, p in detector.named_parameters() if not p.requires_grad}
    assert untrained == {
        name for name, _ in detector.named_parameters() if name.startswith("global_relations")
    }
