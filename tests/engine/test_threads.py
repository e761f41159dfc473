"""How many threads a network computes on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from megavid.core.errors import InputError
from megavid.engine.threads import choose_threads, fewer_if_faster


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ({8: 1.0, 4: 1.8, 2: 3.5, 1: 7.0}, 8),
        ({8: 1.0, 4: 0.9, 2: 0.8, 1: 0.7}, 8),  # not clearly: as on a machine whose cores come in pairs
        ({8: 9.0, 4: 1.2, 2: 2.0, 1: 4.0}, 4),  # three of eight cores are in use
        ({8: 9.0, 4: 6.0, 2: 4.0, 1: 1.0}, 1),
        ({5: 9.0, 2: 1.0, 1: 2.0}, 2),
    ],
)
def test_fewer_threads_where_cores_are_shared(seconds: dict[int, float], expected: int) -> None:
    assert fewer_if_faster(max(seconds), lambda threads, size: seconds[threads]) == expected


def test_the_users_choice() -> None:
    assert choose_threads(3, device="cpu") == ""
    assert torch.get_num_threads() == 3
    for wanted in (0, -1, 10**9):
        with pytest.raises(InputError, match="--threads: expected 1 to 1024"):
            choose_threads(wanted, device="cpu")


def test_the_environments_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(2)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert choose_threads(None, device="cpu") == ""
    assert torch.get_num_threads() == 2
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    said = choose_threads(None, device="cpu")
    assert said.startswith(f"computes on {torch.get_num_threads()} thread")
    assert 1 <= torch.get_num_threads() <= 2
