"""The precision that a network computes in: autocast, and TF32 on NVIDIA GPUs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any

import torch

from megavid.models.acceleration.inference import Inference

_backends: Any = torch.backends  # PyTorch's types lack the newer flags

_CUDA_FLAGS = (_backends.cudnn.conv, _backends.cudnn.rnn, _backends.cuda.matmul)
"""Owners of the flags `fp32_precision` that allow TF32, by operation."""

_FLAGS = (*_CUDA_FLAGS, _backends.mkldnn.matmul)
"""All owners of flags `fp32_precision` that `torch.set_float32_matmul_precision` or `allow_tf32` change."""


def compute_precision(inference: Inference, device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which a network computes as its inference settings say.

    Args:
        inference: Settings that the network was prepared with.
        device: Device of the network.
    """
    dtype = getattr(torch, inference.dtype)
    autocast = torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32)
    return autocast if device.type != "cuda" else _on_cuda(autocast, allow_tf32=inference.loose)


@contextmanager
def _on_cuda(autocast: torch.autocast, *, allow_tf32: bool) -> Iterator[None]:
    with tf32(allowed=allow_tf32), autocast:
        yield


@contextmanager
def tf32(*, allowed: bool) -> Iterator[None]:
    """Allow or forbid TF32 in float32 convolutions and matrix products on CUDA devices.

    TF32 rounds factors to 10 bits after the leading one. PyTorch's flags for it belong to the process: blocks
    that overlap in several threads have to agree, and the last one to end restores the flags.
    """
    with _lock:
        _before.append(_Flags.read())
        _allow(allowed)
    try:
        yield
    finally:
        with _lock:
            _before.pop().restore()


@dataclass(frozen=True)
class _Flags:
    """Values of PyTorch's flags.

    Attributes:
        matmul: Value of the older flag for matrix products; None if it contradicts the newer ones.
        newer: Values of `_FLAGS`.
    """

    matmul: str | None
    newer: tuple[str, ...]

    @classmethod
    def read(cls) -> _Flags:
        try:
            matmul = torch.get_float32_matmul_precision()
        except RuntimeError:  # a combination of newer flags that the older one cannot express
            matmul = None
        return cls(matmul, tuple(flag.fp32_precision for flag in _FLAGS))

    def restore(self) -> None:
        # The older flags come first, since setting them changes the newer ones.
        _backends.cudnn.allow_tf32 = self.newer[0] == "tf32"
        if self.matmul is not None:
            torch.set_float32_matmul_precision(self.matmul)
        for flag, value in zip(_FLAGS, self.newer, strict=True):
            flag.fp32_precision = value


def _allow(allowed: bool) -> None:
    """Set the older flags, which torch.compile reads, and the newer ones, with which they have to agree."""
    _backends.cudnn.allow_tf32 = allowed
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    for flag in _CUDA_FLAGS:
        flag.fp32_precision = "tf32" if allowed else "ieee"


_lock = Lock()
_before: list[_Flags] = []
"""Flags before each block that is open in any thread."""
