"""FGFA: the number of computations, and the average of warped maps."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from megavid import VideoSession, detect_video
from megavid.core.frames import Image
from megavid.models.base.features import Window
from megavid.models.layers.warp import warp
from megavid.models.methods.fgfa import Fgfa, FgfaFeatures
from tests.agreement import assert_close
from tests.conftest import build_tiny, network_input

MakeFrames = Callable[[int], list[Image]]


@pytest.fixture
def detector(device: torch.device) -> Fgfa:
    built = build_tiny("fgfa", device)
    assert isinstance(built, Fgfa)
    return built


def calls(module: nn.Module) -> list[int]:
    """Return a list to which every call of a module will append the batch size of its last argument."""
    sizes: list[int] = []
    module.register_forward_hook(lambda module, args, output: sizes.append(len(args[-1])))
    return sizes


def test_maps_are_computed_once_per_frame_and_flow_only_where_needed(
    detector: Fgfa, make_frames: MakeFrames
) -> None:
    trunk, embedding, flow = map(calls, (detector.backbone.trunk, detector.embedding, detector.flow))
    frames = make_frames(9)
    for session in (VideoSession(detector), VideoSession(detector, source=frames)):
        for counts in (trunk, embedding, flow):
            counts.clear()
        for frame in frames:
            session.push(frame)
        session.flush()
        assert sum(trunk) == sum(embedding) == 9
        # the number of distinct frames in each window of +-3
        assert flow == [4, 5, 6, 7, 7, 7, 6, 5, 4]


def features_of(detector: Fgfa, frames: list[Image]) -> list[FgfaFeatures]:
    return [detector.encode(network_input(detector, [frame]))[0] for frame in frames]


@torch.inference_mode()
def aggregated(detector: Fgfa, key: FgfaFeatures, local: list[FgfaFeatures]) -> Tensor:
    maps: list[Tensor] = []
    with detector.rpn.register_forward_hook(lambda module, args, output: maps.append(args[0])):
        detector.predict(Window(step=0, key=key, local=local, global_frames=[], frame_size=(64, 96)), None)
    return maps[0][0]


@torch.inference_mode()
@pytest.mark.parametrize("places", [[0, 0, 0, 0, 1, 2, 3], [0, 1, 2, 3, 4, 5, 6], [5, 6, 6, 6, 6, 6, 6]])
def test_average_is_weighted_by_similarity_of_embeddings(
    detector: Fgfa, make_frames: MakeFrames, places: list[int]
) -> None:
    frames = features_of(detector, make_frames(7))
    key, local = frames[places[3]], [frames[i] for i in places]
    warped = []
    for frame in local:  # as in the paper, one frame of the window at a time
        flow, _ = detector.flow(key.flow_input[None], frame.flow_input[None])
        move = [warp(x[None], flow, align_corners=False)[0] for x in (frame.c4, frame.embedding)]
        warped.append(move)
    unit = [embedding / embedding.norm(dim=0) for _, embedding in warped]
    cosines = torch.stack([(u * unit[3]).sum(0) for u in unit])
    weights = cosines.softmax(dim=0)
    expected = sum(w * c4 for w, (c4, _) in zip(weights, warped, strict=True))
    assert_close(aggregated(detector, key, local), expected)


@torch.inference_mode()
@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("places", [[0, 0, 0, 0, 1, 2, 3], [0, 1, 2, 3, 4, 5, 6], [5, 6, 6, 6, 6, 6, 6]])
def test_all_places_at_once_have_the_average_of_one_frame_at_a_time(
    make_frames: MakeFrames,
    device: torch.device,
    places: list[int],
    align_corners: bool,
) -> None:
    detector = build_tiny("fgfa", device, **{"method.align_corners": align_corners})
    assert isinstance(detector, Fgfa)
    frames = features_of(detector, make_frames(7))
    key, local = frames[places[3]], [frames[i] for i in places]
    expected = aggregated(detector, key, local)
    warped = calls(detector.flow)
    detector.fixed_shapes = True
    at_once = aggregated(detector, key, local)
    assert_close(at_once, expected)
    assert warped == [len(places)]


def without_motion(device: torch.device) -> Fgfa:
    """Return a detector whose flow is zero, so that warping changes nothing."""
    detector = build_tiny("fgfa", device, **{"method.align_corners": True})
    assert isinstance(detector, Fgfa)
    for parameter in detector.flow.predict.parameters():
        nn.init.zeros_(parameter)
    return detector


@torch.inference_mode()
def test_average_of_a_still_video_is_the_map_of_its_frame(
    make_frames: MakeFrames, device: torch.device
) -> None:
    detector = without_motion(device=device)
    frames = features_of(detector, make_frames(1) * 7)
    assert_close(aggregated(detector, frames[3], frames), frames[3].c4)


@torch.inference_mode()
def test_each_position_has_its_own_weights(make_frames: MakeFrames, device: torch.device) -> None:
    detector = without_motion(device=device)
    [frame] = features_of(detector, make_frames(1))
    # The embeddings of two frames are equal on the left and opposite on the right.
    ones = torch.ones_like(frame.embedding)
    opposite = ones.clone()
    opposite[:, :, 3:] = -1
    key = FgfaFeatures(frame.image_size, frame.flow_input, torch.ones_like(frame.c4), ones)
    other = FgfaFeatures(frame.image_size, frame.flow_input, torch.zeros_like(frame.c4), opposite)
    average = aggregated(detector, key, [key, other])
    assert_close(average[:, :, :3], torch.full_like(average[:, :, :3], 0.5))
    e = torch.tensor(1.0, device=device).exp()
    assert_close(average[:, :, 3:], (e / (e + 1 / e)).expand_as(average[:, :, 3:]))


def test_neighboring_frames_change_the_result(detector: Fgfa, make_frames: MakeFrames) -> None:
    frames = make_frames(5)
    alone = next(iter(detect_video(detector, frames[:1])))
    among = next(iter(detect_video(detector, frames)))
    assert not torch.equal(alone.detections.scores, among.detections.scores)
