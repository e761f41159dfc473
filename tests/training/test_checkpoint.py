"""Broken or edited checkpoints are refused and never restored in part."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from megavid.core.errors import InputError
from megavid.core.files.torch_files import BrokenFileError
from megavid.training.checkpoint import Checkpoint, load_checkpoint, restore_state
from tests.mutations import ends_well, mutated_value, mutators


def train_one_step() -> tuple[torch.nn.Linear, torch.optim.Optimizer]:
    network = torch.nn.Linear(2, 3)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    network(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    return network, optimizer


def saved_values() -> dict[str, Any]:
    network, optimizer = train_one_step()
    return {
        "step": 3,
        "recipe": {"data": {"val": None}},
        "config": {"classes": ["a"]},
        "licence": "",
        "model": network.state_dict(),
        "ema": None,
        "optimizer": optimizer.state_dict(),
        "scaler": {},
        "random": torch.get_rng_state(),
        "best": (0.5, 2),
        "pending": {"steps": 1.0},
    }


def restore(checkpoint: Checkpoint) -> torch.optim.Optimizer:
    _, optimizer = train_one_step()
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    restore_state(checkpoint, optimizer, scaler, origin="run")
    return optimizer


def test_a_saved_checkpoint_is_restored(tmp_path: Path) -> None:
    saved = saved_values()
    torch.save(saved, tmp_path / "x.pt")
    checkpoint = load_checkpoint(tmp_path / "x.pt")
    assert (checkpoint.step, checkpoint.best, checkpoint.pending) == (3, (0.5, 2), {"steps": 1.0})
    momenta = restore(checkpoint).state_dict()["state"]
    for number, momentum in saved["optimizer"]["state"].items():
        assert torch.equal(momenta[number]["momentum_buffer"], momentum["momentum_buffer"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"step": -1}, "step: should be greater than or equal to 0"),
        ({"best": "0.5"}, "best: "),
        ({"model": {"a": 1}}, "model.a: should be an instance of Tensor"),
        ({"more": 1}, "more: unknown key"),
        ({"recipe": {"a": torch.zeros(1)}}, "recipe.a"),
    ],
)
def test_an_error_names_the_value_of_a_wrong_type(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    torch.save(saved_values() | change, tmp_path / "x.pt")
    with pytest.raises(BrokenFileError, match=f"x.pt: .*{message}"):
        load_checkpoint(tmp_path / "x.pt")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimizer": {}}, "expected the state of an optimizer"),
        ({"optimizer": {"state": {0: {"momentum_buffer": torch.zeros(3)}}}}, "state 0 does not fit"),
        ({"optimizer": {"state": {7: {"momentum_buffer": None}}}}, "state 7 does not fit"),
        ({"optimizer": {"state": {1: {"momentum_buffer": torch.ones(3).long()}}}}, "state 1 does not fit"),
        ({"optimizer": {"state": {1: {"step": 3}}}}, "state 1 does not fit"),
        ({"random": torch.zeros(5)}, "the state of its training is broken"),
    ],
)
def test_sgd_state_that_does_not_fit_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"run: .*{message}"):
        restore(replace(Checkpoint(**saved_values(), threads=None), **change))


@pytest.mark.parametrize(
    "change",
    [
        {"step": 3},
        {"step": torch.tensor(-1.0)},
        {"step": torch.tensor(float("nan"))},
        {"exp_avg": torch.zeros(2)},
        {"exp_avg_sq": None},
        {"momentum_buffer": torch.zeros(3)},
    ],
)
def test_adamw_state_that_does_not_fit_is_refused(change: dict[str, Any]) -> None:
    network = torch.nn.Linear(2, 3)
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    saved = saved_values() | {"optimizer": optimizer.state_dict()}
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    restore_state(Checkpoint(**saved, threads=None), optimizer, scaler, origin="run")
    saved["optimizer"]["state"][1] |= change
    with pytest.raises(InputError, match="run: the optimizer's state 1 does not fit"):
        restore_state(Checkpoint(**saved, threads=None), optimizer, scaler, origin="run")


def test_mutated_checkpoints_are_loaded_or_refused(tmp_path: Path) -> None:
    saved, path = saved_values(), tmp_path / "x.pt"
    random_state, restored = torch.get_rng_state(), 0
    for random in mutators(150):
        torch.save(mutated_value(saved, random), path)
        restored += ends_well(lambda: restore(load_checkpoint(path)))
    torch.set_rng_state(random_state)
    assert 0 < restored < 100
