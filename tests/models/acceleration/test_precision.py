"""The precision that networks compute in: PyTorch's flags inside and outside of the context."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from megavid import Inference
from megavid.models.acceleration.precision import compute_precision, tf32

CPU, CUDA = torch.device("cpu:0"), torch.device("cuda:0")
"""Devices by name, whatever device the other tests run on, since flags need no GPU."""

backends: Any = torch.backends  # PyTorch's types lack the newer flags

Flags = tuple[bool, bool, str, str, str]


def flags() -> Flags:
    """Return the older flags, which raise if they contradict the newer ones, and the newer flags."""
    return (
        backends.cudnn.allow_tf32,
        backends.cuda.matmul.allow_tf32,
        torch.get_float32_matmul_precision(),
        backends.cudnn.conv.fp32_precision,
        backends.cuda.matmul.fp32_precision,
    )


ALLOWED: Flags = (True, True, "high", "tf32", "tf32")
FORBIDDEN: Flags = (False, False, "highest", "ieee", "ieee")


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Give the other tests the flags that `conftest.py` chose."""
    yield
    torch.set_float32_matmul_precision("highest")
    backends.cudnn.allow_tf32 = False
    backends.cuda.matmul.allow_tf32 = False


@pytest.mark.filterwarnings("ignore:CUDA is not available")
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize(("loose", "inside"), [(False, FORBIDDEN), (True, ALLOWED)])
@pytest.mark.parametrize("convolutions", [False, True])
@pytest.mark.parametrize("products", ["highest", "high", "medium"])
def test_tf32_is_allowed_with_loose_only(
    dtype: str, loose: bool, inside: Flags, convolutions: bool, products: str
) -> None:
    torch.set_float32_matmul_precision(products)
    backends.cudnn.allow_tf32 = convolutions
    before = flags()
    assert before[:3] == (convolutions, products != "highest", products)
    inference = Inference.model_validate({"dtype": dtype, "loose": loose})
    with compute_precision(inference, CUDA):
        assert flags() == inside
    assert flags() == before


def test_flags_set_by_the_newer_names_alone_are_restored() -> None:
    newer = (backends.cudnn.conv, backends.cuda.matmul, backends.mkldnn.matmul)
    for flag in newer:
        flag.fp32_precision = "tf32"
    with tf32(allowed=False):
        assert flags() == FORBIDDEN
    assert [flag.fp32_precision for flag in newer] == ["tf32"] * 3


def test_flags_are_restored_after_an_error() -> None:
    before = flags()
    with pytest.raises(ZeroDivisionError), tf32(allowed=True):
        raise ZeroDivisionError
    assert flags() == before


def test_flags_last_until_the_last_of_several_threads_is_done() -> None:
    before = flags()
    entered, leave = threading.Event(), threading.Event()

    def compute() -> None:
        with tf32(allowed=True):
            entered.set()
            leave.wait(10)

    other = threading.Thread(target=compute)
    with tf32(allowed=True):
        other.start()
        assert entered.wait(10)
    assert flags() == ALLOWED
    leave.set()
    other.join()
    assert flags() == before


@pytest.mark.parametrize("loose", [False, True])
def test_other_devices_leave_the_flags_alone(loose: bool) -> None:
    before = flags()
    with compute_precision(Inference(loose=loose), CPU):
        assert flags() == before
