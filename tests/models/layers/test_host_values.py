"""Values of the host that are used on a device."""

from __future__ import annotations

import torch

from megavid.models.layers.host_values import take_rows, upload

NUMBERS = torch.tensor([3, 1, 2])


def test_rows_are_taken_like_with_an_index(device: torch.device) -> None:
    x = torch.arange(12.0, device=device).view(4, 3).requires_grad_()
    taken = take_rows(x, (2, 0, 2))
    assert taken.tolist() == [[6, 7, 8], [0, 1, 2], [6, 7, 8]]
    taken.sum().backward()
    assert x.grad is not None
    assert x.grad[:, 0].tolist() == [1, 0, 2, 0]


def test_uploaded_values_stay_the_same(device: torch.device) -> None:
    uploaded = upload(NUMBERS, device)
    assert uploaded.device.type == device.type
    assert uploaded.tolist() == [3, 1, 2]
