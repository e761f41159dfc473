"""Linear layers with packed weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from megavid.models.acceleration.cpu.packed import PackedLinear, has_packing


@pytest.mark.parametrize("available", [True, False])
@torch.inference_mode()
def test_packed_linear_equals_the_original_layer(available: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not available:
        monkeypatch.setattr("megavid.models.acceleration.cpu.packed.has_packing", lambda: False)
    torch.manual_seed(0)
    layer = nn.Linear(130, 48)
    packed = PackedLinear(layer, rows=20)
    assert packed.is_packed == (available and has_packing())
    for rows in (0, 1, 20, 33):
        x = torch.randn(rows, 130)
        torch.testing.assert_close(packed(x), layer(x))


def test_operators_of_packed_layers_are_available() -> None:
    assert has_packing() == torch.backends.mkldnn.is_available()
