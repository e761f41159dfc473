"""Networks that refuse to be copied, saved or moved once they are prepared for inference."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache, partial
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from megavid.core.errors import InputError


class Preparable(nn.Module):
    """A network that can be copied, pickled, saved, moved and converted until it is prepared for inference.

    Preparation folds, packs and rearranges weights for one device. Copying or saving afterwards would fail
    inside PyTorch or silently produce another network, so either one raises an `InputError`.

    Once a network exists, processes that are forked compute on one thread (`use_one_thread_when_forked`).

    Attributes:
        is_prepared: Whether the network was prepared for inference.
    """

    def __init__(self) -> None:
        super().__init__()
        self.is_prepared = False
        nn.Module.register_state_dict_pre_hook(self, _check_saved)
        nn.Module.register_load_state_dict_pre_hook(self, _check_loaded)
        use_one_thread_when_forked()

    def __reduce_ex__(self, protocol: Any) -> Any:
        if self.is_prepared:  # pickle, torch.save and copy.deepcopy call this method
            _refuse("copied, pickled or saved")
        return super().__reduce_ex__(protocol)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """Apply a function to all tensors for `to`, `half` or `cuda`; refuse to change a prepared network."""
        if not self.is_prepared:
            return super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        tensors = [*self.parameters(), *self.buffers()]
        if any(fn(tensor) is not tensor for tensor in tensors if tensor.layout == torch.strided):
            _refuse("moved or converted")
        return self


@cache
def use_one_thread_when_forked() -> None:
    """Make processes that are forked from this one compute on one thread.

    A fork does not copy PyTorch's worker threads, so the first operation of the forked process that waits for
    these threads would hang.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=partial(torch.set_num_threads, 1))


def _check_saved(module: Preparable, *_: object) -> None:
    if module.is_prepared:
        _refuse("saved")


def _check_loaded(module: Preparable, *_: object) -> None:
    if module.is_prepared:
        _refuse("given other weights")


def _refuse(done: str) -> NoReturn:
    raise InputError(
        f"detector: expected one loaded with inference=None to be {done}, got one prepared for inference"
    )
