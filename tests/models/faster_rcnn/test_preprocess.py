"""Network input: sizes recorded from the original release or computed by hand, and pixel values."""

from __future__ import annotations

import pytest
import torch

from megavid.models.faster_rcnn.preprocess import InputConfig, input_size, network_input


@pytest.mark.parametrize(
    ("frame", "limits", "expected"),
    [
        ((360, 640), (600, 1000), (562, 999)),  # recorded from the original
        ((120, 160), (192, 320), (192, 256)),  # recorded from the original
        ((720, 1280), (600, 1000), (562, 999)),
        ((1280, 720), (600, 1000), (999, 562)),
        ((600, 800), (600, 1000), (600, 800)),  # unchanged
        ((480, 640), (600, 1000), (600, 800)),
        ((500, 888), (600, 2000), (600, 1065)),  # 1065.6, truncated
        ((1, 1), (600, 1000), (600, 600)),
        ((5000, 3000), (600, 1000), (1000, 600)),
        ((1, 5000), (600, 1000), (1, 5000)),  # the short side cannot become shorter
        ((2, 5000), (600, 1000), (1, 2500)),
        ((500, 1000), (600, 1005), (502, 1004)),  # 502.5 is rounded to even
    ],
)
def test_input_size(frame: tuple[int, int], limits: tuple[int, int], expected: tuple[int, int]) -> None:
    assert input_size(*frame, min_size=limits[0], max_size=limits[1]) == expected


def test_input_is_bgr_minus_the_mean(device: torch.device) -> None:
    frames = torch.tensor([10, 20, 30], dtype=torch.uint8, device=device).expand(2, 16, 20, 3)
    config = InputConfig(min_size=16, max_size=40, mean=(1.0, 2.0, 3.0))
    tensor = network_input(frames, config)
    assert tensor.shape == (2, 3, 16, 20)
    assert tensor.dtype == torch.float32
    assert tensor[0, :, 0, 0].tolist() == [29.0, 18.0, 7.0]
