"""Optimizers, learning rates and averages of weights."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, MultiStepLR, SequentialLR

from megavid.core.config import validate
from megavid.core.errors import InputError
from megavid.training.checkpoint import Checkpoint, restore_state
from megavid.training.optim.ema import MovingAverage
from megavid.training.optim.optimizer import OptimizerConfig, make_optimizer
from megavid.training.optim.schedule import learning_rate, set_learning_rate
from tests.conftest import build_tiny


def config(**values: Any) -> OptimizerConfig:
    return validate(OptimizerConfig, {"learning_rate": 0.001, **values}, origin="here")


def saved_values(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return the values of a checkpoint with an optimizer's state, as they come from its file."""
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    return {
        "step": 2,
        "recipe": {},
        "config": {},
        "licence": "",
        "model": {},
        "ema": None,
        "optimizer": torch.load(file, weights_only=True),
        "scaler": {},
        "random": torch.get_rng_state(),
        "best": (0.0, 0),
        "pending": {},
    }


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "adam"}, "name: should be 'sgd' or 'adamw', got 'adam'"),
        ({"name": ["sgd"]}, "name: should be 'sgd' or 'adamw'"),
        ({"name": "adamw", "momentum": 0.9}, "momentum is a setting of sgd, not of adamw"),
        ({"name": "adamw", "bias_factor": 1}, "bias_factor is a setting of sgd, not of adamw"),
        ({"betas": [0.9, 0.99]}, "betas is a setting of adamw, not of sgd"),
        ({"name": "adamw", "betas": [0.9, 1.0]}, "betas.1: should be less than 1, got 1.0"),
        ({"schedule": "cosine", "milestones": [3]}, "milestones belong to schedule steps, not to cosine"),
        ({"schedule": "linear"}, "schedule: should be 'steps' or 'cosine'"),
        ({"ema": 1}, "ema: should be less than 1"),
    ],
)
def test_a_wrong_setting_is_an_error(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        config(**values)


@pytest.mark.parametrize("values", [{}, {"name": "adamw", "schedule": "cosine", "ema": 0.999}])
def test_a_written_configuration_can_be_read(values: dict[str, Any]) -> None:
    written = config(**values).model_dump(mode="json")
    assert config(**written).model_dump(mode="json") == written


def test_defaults_depend_on_the_optimizer() -> None:
    sgd, adamw = config(), config(name="adamw")
    assert (sgd.momentum, sgd.bias_factor, sgd.weight_decay, sgd.betas) == (0.9, 2.0, 1e-4, None)
    assert (adamw.momentum, adamw.bias_factor, adamw.weight_decay) == (None, None, 0.05)
    assert adamw.betas == (0.9, 0.999)


def test_sgd_groups() -> None:
    detector = build_tiny("mega")
    detector.freeze(stages=2)
    optimizer = make_optimizer(detector, config(), fused=False)
    set_learning_rate(optimizer, 0.5)
    weights, biases = optimizer.param_groups
    assert (weights["lr"], weights["weight_decay"], weights["momentum"]) == (0.5, 1e-4, 0.9)
    assert (biases["lr"], biases["weight_decay"]) == (1.0, 0.0)
    trained = [p for p in detector.parameters() if p.requires_grad]
    assert len(weights["params"]) + len(biases["params"]) == len(trained)
    assert any(p is detector.predictor.scores.bias for p in biases["params"])


def test_adamw_groups() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.GroupNorm(2, 4), torch.nn.Linear(4, 2))
    network[2].requires_grad_(False)
    optimizer = make_optimizer(
        network, config(name="adamw", betas=[0.8, 0.99], weight_decay=0.1), fused=False
    )
    assert isinstance(optimizer, torch.optim.AdamW)
    set_learning_rate(optimizer, 0.5)
    decaying, others = optimizer.param_groups
    assert (decaying["lr"], decaying["weight_decay"], decaying["betas"]) == (0.5, 0.1, (0.8, 0.99))
    assert (others["lr"], others["weight_decay"]) == (0.5, 0.0)
    assert [id(p) for p in decaying["params"]] == [id(network[0].weight)]
    expected = [network[0].bias, network[1].weight, network[1].bias]
    assert [id(p) for p in others["params"]] == [id(p) for p in expected]


@pytest.mark.parametrize("name", ["sgd", "adamw"])
@pytest.mark.parametrize("fused", [False, True])
def test_fused_and_plain_optimizers_continue_each_other(name: str, fused: bool) -> None:
    """Change from one to the other after a step; one layer gets its first gradient in the second step."""
    trained = []
    for kinds in ((False, False, False), (fused, not fused, not fused)):
        torch.manual_seed(0)
        network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
        optimizer = make_optimizer(network, config(name=name), fused=kinds[0])
        for step, kind in enumerate(kinds):
            if step > 0 and kind != kinds[step - 1]:
                checkpoint = Checkpoint(**saved_values(optimizer), threads=None)
                optimizer = make_optimizer(network, config(name=name), fused=kind)
                scaler = torch.amp.GradScaler("cpu", enabled=False)
                restore_state(checkpoint, optimizer, scaler, origin="run")
            set_learning_rate(optimizer, 0.1)
            optimizer.zero_grad(set_to_none=True)
            hidden = network[0](torch.tensor([[1.0, -2.0, 3.0]]) * (step + 1))
            (hidden if step == 0 else network[1](hidden)).square().sum().backward()
            optimizer.step()
        trained.append([p.detach() for p in network.parameters()])
    torch.testing.assert_close(trained[0], trained[1])


def test_learning_rates_of_the_published_schedule() -> None:
    published = config(reference_batch=4, warmup=500, milestones=[80_000, 100_000])
    steps = (0, 250, 500, 79_999, 80_000, 100_000)
    rates = [learning_rate(published, step, steps=120_000, batch=4) for step in steps]
    assert rates == pytest.approx([0.001 / 3, 0.001 * 2 / 3, 0.001, 0.001, 1e-4, 1e-5])
    assert learning_rate(published, 500, steps=120_000, batch=16) == pytest.approx(0.004)


@pytest.mark.parametrize("schedule", ["steps", "cosine"])
@pytest.mark.parametrize("warmup", [1, 7])
def test_schedules_agree_with_pytorch(schedule: str, warmup: int) -> None:
    steps, milestones = 40, [20, 30] if schedule == "steps" else []
    mine = config(schedule=schedule, warmup=warmup, warmup_factor=0.25, milestones=milestones)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.001)
    main = (
        MultiStepLR(optimizer, [milestone - warmup for milestone in milestones])
        if schedule == "steps"
        else CosineAnnealingLR(optimizer, steps - warmup)
    )
    first = LinearLR(optimizer, start_factor=0.25, total_iters=warmup)
    theirs = SequentialLR(optimizer, [first, main], milestones=[warmup])
    for step in range(steps):
        expected = optimizer.param_groups[0]["lr"]
        assert learning_rate(mine, step, steps=steps, batch=4) == pytest.approx(expected), step
        optimizer.step()
        theirs.step()


def test_cosine_without_warmup_ends_near_zero() -> None:
    cosine = config(schedule="cosine", warmup=0)
    rates = [learning_rate(cosine, step, steps=100, batch=1) for step in range(100)]
    assert rates[0] == 0.001
    assert rates == sorted(rates, reverse=True)
    assert 0 < rates[-1] < 1e-6
    short = config(schedule="cosine", warmup=500)
    assert learning_rate(short, 1, steps=2, batch=1) < 0.001  # the run ends during warm-up


def test_averaged_weights_follow_the_formula() -> None:
    network = torch.nn.BatchNorm1d(3)
    mean = network.get_buffer("running_mean")
    average = MovingAverage(network, 0.5)
    expected = None
    for update in range(12):
        with torch.no_grad():
            network.weight.add_(1.0)
            mean.add_(1.0)
        average.update_parameters(network)
        decay = min(0.5, (1 + update) / (10 + update))
        weight = network.weight.detach()
        expected = weight.clone() if expected is None else decay * expected + (1 - decay) * weight
        torch.testing.assert_close(average.module.get_parameter("weight"), expected)
        assert average.module.get_buffer("running_mean").tolist() == [update + 1.0] * 3
    assert not average.module.get_parameter("weight").equal(network.weight)
