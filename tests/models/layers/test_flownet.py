"""FlowNet: sizes, and values computed by hand."""

from __future__ import annotations

import pytest
import torch

from megavid.models.layers.flownet import FlowNet, Refinement, flow_input
from tests.agreement import assert_close


@pytest.mark.parametrize("size", [(64, 96), (65, 97), (61, 130), (16, 16), (1, 33)])
def test_flow_has_the_size_of_the_trunks_map(size: tuple[int, int], device: torch.device) -> None:
    net = FlowNet(width=4).to(device)
    frames = flow_input(torch.rand(2, 3, *size).to(device))
    flow, features = net(frames, frames)
    cells = [-(-side // 16) for side in size]
    assert list(flow.shape) == [2, 2, *cells]
    assert list(features.shape) == [2, net.out_channels, *cells]
    assert net.out_channels == 14


def test_input_is_scaled_and_halved(device: torch.device) -> None:
    image = torch.arange(15.0, device=device).reshape(1, 1, 3, 5) * 255
    # means of 2x2 blocks; blocks at the border average fewer pixels
    expected = torch.tensor(
        [[(0 + 1 + 5 + 6) / 4, (2 + 3 + 7 + 8) / 4, (4 + 9) / 2], [10.5, 12.5, 14]], device=device
    )
    assert_close(flow_input(image)[0, 0], expected)


def test_flow_is_scaled(device: torch.device) -> None:
    net = FlowNet(width=2).to(device)
    torch.nn.init.zeros_(net.predict.weight)
    net.predict.bias = torch.nn.Parameter(torch.tensor([1.0, -2.0], device=device))
    frames = flow_input(torch.rand(1, 3, 32, 32).to(device))
    flow, _ = net(frames, frames)
    assert_close(flow, torch.tensor([2.5, -5.0], device=device).reshape(1, 2, 1, 1).expand(1, 2, 2, 2))


@pytest.mark.parametrize(("height", "width"), [(4, 6), (3, 5)])
def test_refinement_concatenates_skip_upsampled_features_and_upsampled_flow(
    height: int, width: int, device: torch.device
) -> None:
    refine = Refinement(in_channels=2, out_channels=3).to(device)
    for parameter in refine.parameters():
        torch.nn.init.zeros_(parameter)
    # A kernel with a single 1 in its corner puts cell (y, x) at (2y + 3, 2x + 3). Cropping the result moves
    # it to (2y + 2, 2x + 2).
    refine.deconv.weight.data[0, :, 3, 3] = torch.tensor([1.0, -1.0, 0.0], device=device)
    deeper = torch.zeros(1, 2, 2, 3, device=device)
    deeper[0, 0, 0, 1] = 1
    skip = torch.rand(1, 4, height, width).to(device)
    joined = refine(deeper, skip)
    assert joined.shape == (1, 4 + 3 + 2, height, width)
    assert torch.equal(joined[:, :4], skip)
    up = torch.zeros(3, height, width, device=device)
    up[0, 2, 4], up[1, 2, 4] = 1, -0.1  # after the leaky ReLU
    assert_close(joined[0, 4:7], up)
    assert not joined[0, 7:].any()


def test_swapping_current_and_reference_changes_the_flow(device: torch.device) -> None:
    net = FlowNet(width=4).to(device)
    one, two = flow_input(torch.rand(2, 3, 32, 32).to(device) * 255).split(1)
    assert not torch.equal(net(one, two)[0], net(two, one)[0])


def test_a_single_current_frame_is_broadcast(device: torch.device) -> None:
    net = FlowNet(width=4).to(device)
    frames = flow_input(torch.rand(3, 3, 32, 48).to(device) * 255)
    one, _ = net(frames[:1], frames)
    each, _ = net(frames[:1].expand(3, -1, -1, -1), frames)
    assert_close(one, each)


def test_first_convolution_equals_that_of_concatenated_frames(device: torch.device) -> None:
    net = FlowNet(width=4).to(device)
    current, reference = flow_input(torch.rand(4, 3, 32, 48).to(device) * 255).split(2)
    side_by_side = net.conv1(torch.cat((current, reference), dim=1))
    assert_close(net._conv1(current, reference), side_by_side)
