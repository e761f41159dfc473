"""Losses and gradient norms of steps: their averages, and checks for numbers that are not finite."""

from __future__ import annotations

import math

import pytest
import torch

from megavid.core.errors import InputError
from megavid.training.step_numbers import StepNumbers

CLIPS = [["one", "two"], ["three"]]


def step_numbers(
    device: torch.device, *, first: float = 1.0, last: float = 4.0, norm: float = 0.5
) -> StepNumbers:
    """Return the numbers of a step of three clips: two in the first micro-batch, one in the second."""
    losses = [{"classes": first, "boxes": 10.0}, {"classes": last, "boxes": 40.0}]
    tensors = [{name: torch.tensor(v, device=device) for name, v in terms.items()} for terms in losses]
    return StepNumbers(tensors, torch.tensor(norm, device=device), step=7, clips=CLIPS)


def test_losses_are_averaged_over_clips(device: torch.device) -> None:
    means, norm = step_numbers(device).wait(may_overflow=False)
    assert means == pytest.approx({"classes": 2.0, "boxes": 20.0})
    assert list(means) == ["classes", "boxes"]
    assert norm == 0.5


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_names_the_clips_of_its_micro_batch(
    bad: float, device: torch.device
) -> None:
    with pytest.raises(InputError, match=rf"step 7: the loss is not finite \(classes {bad}.* for one, two;"):
        step_numbers(device, first=bad, norm=bad).wait(may_overflow=True)
    with pytest.raises(InputError, match=rf"step 7: the loss is not finite \(classes {bad}.* for three;"):
        step_numbers(device, last=bad, norm=bad).wait(may_overflow=False)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_gradient_may_be_infinite_only_if_the_scaler_skips_the_step(
    bad: float, device: torch.device
) -> None:
    with pytest.raises(InputError, match="step 7: the gradient is not finite for one, two, three;"):
        step_numbers(device, norm=bad).wait(may_overflow=False)
    _, norm = step_numbers(device, norm=bad).wait(may_overflow=True)
    assert norm is None
