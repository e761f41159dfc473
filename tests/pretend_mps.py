"""A stand-in for Apple's GPUs, which have no float64: it computes on the CPU and refuses float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map_only

PRETEND_MPS = torch.device("mps:0")

CPU = torch.device("cpu:0")


class PretendTensor(Tensor):
    """A tensor on the CPU that claims to be on the stand-in while `pretend_mps` is active."""


@contextmanager
def pretend_mps() -> Iterator[None]:
    """Let tensors move to the device `PRETEND_MPS`, where functions that return float64 raise an error."""
    # The parameters of a module that moves would otherwise keep their type.
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        with _Functions():
            yield
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(False)


class _Functions(TorchFunctionMode):
    """Calls PyTorch's functions on the CPU, and marks results that would be on the stand-in."""

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        arguments: Sequence[Any] = (),
        keywords: Mapping[str, Any] | None = None,
    ) -> Any:
        if function is torch._C._nn._parse_to:  # reads the arguments of `Module.to`
            return function(*arguments, **(keywords or {}))
        given = [*arguments, *(keywords or {}).values()]
        pretends = any(isinstance(value, PretendTensor) for value in tree_leaves(given))
        if function == Tensor.device.__get__ and pretends:
            return PRETEND_MPS
        devices = [value for value in given if isinstance(value, torch.device)]
        if devices or function is Tensor.cpu:
            pretends = PRETEND_MPS in devices
        inner, named = tree_map_only(torch.device, lambda _: CPU, (list(arguments), dict(keywords or {})))
        result = _computed(function, inner, named)
        return tree_map_only(Tensor, lambda x: _marked(x, function) if pretends else _plain(x), result)


def _computed(function: Callable[..., Any], arguments: list[Any], keywords: dict[str, Any]) -> Any:
    """Call a function on the CPU, with autocast if the stand-in has it."""
    kind = PRETEND_MPS.type
    dtype, enabled = torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind)
    with torch._C.DisableTorchFunctionSubclass(), torch.autocast(CPU.type, dtype=dtype, enabled=enabled):
        return function(*arguments, **keywords)


def _marked(value: Tensor, function: Callable[..., Any]) -> Tensor:
    if value.dtype == torch.float64:
        raise RuntimeError(f"{function}: MPS has no float64")
    return value if isinstance(value, PretendTensor) else value.as_subclass(PretendTensor)


def _plain(value: Tensor) -> Tensor:
    return value.as_subclass(Tensor) if isinstance(value, PretendTensor) else value
