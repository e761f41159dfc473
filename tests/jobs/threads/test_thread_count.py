"""The number of threads that a network computes on."""

from __future__ import annotations

import pytest
import torch

from megavid.jobs.threads.thread_count import choose_threads, fewer_if_faster, recorded_threads

pytestmark = pytest.mark.usefixtures("restored_threads")


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ({8: 1.0, 4: 1.8, 2: 3.5, 1: 7.0}, 8),
        # Fewer threads are only a little faster, as on cores that run two threads each.
        ({8: 1.0, 4: 0.9, 2: 0.8, 1: 0.7}, 8),
        ({8: 9.0, 4: 1.2, 2: 2.0, 1: 4.0}, 4),  # other programs use three of eight cores
        ({8: 9.0, 4: 6.0, 2: 4.0, 1: 1.0}, 1),
        ({5: 9.0, 2: 1.0, 1: 2.0}, 2),
    ],
)
def test_fewer_threads_are_used_if_cores_are_shared(seconds: dict[int, float], expected: int) -> None:
    assert fewer_if_faster(max(seconds), lambda threads, size: seconds[threads]) == expected


def test_the_thread_count_of_the_user_is_applied() -> None:
    assert choose_threads(3, device="cpu") == ""
    assert torch.get_num_threads() == 3
    assert choose_threads(2, device="cpu", before=3).startswith("computes on 2 threads, on 3 before")
    assert choose_threads(2, device="cpu", before=2) == ""


def test_a_continued_run_keeps_its_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    message = choose_threads(None, device="cpu", before=3)
    assert message == "computes on 3 threads, as this run did before; --threads sets another number"
    assert torch.get_num_threads() == recorded_threads("cpu") == 3
    assert recorded_threads("cuda") is None
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    message = choose_threads(None, device="cpu", before=2)
    assert message.startswith("computes on 3 threads, on 2 before: results may differ")


def test_the_thread_count_of_the_environment_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(2)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert choose_threads(None, device="cpu") == ""
    assert torch.get_num_threads() == 2
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    message = choose_threads(None, device="cpu")
    assert message.startswith(f"computes on {torch.get_num_threads()} thread")
    assert 1 <= torch.get_num_threads() <= 2
