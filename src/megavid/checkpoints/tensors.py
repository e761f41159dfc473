"""Check tensors that were read from a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from megavid.core.errors import InputError
from megavid.core.files.torch_files import LARGEST_TENSORS

_REAL = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_WHOLE = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool)


def check_tensors(state: Mapping[str, Tensor], path: Path) -> None:
    """Check that tensors are dense and finite, have common dtypes, and are not too large in total.

    Args:
        state: Tensors by name.
        path: File that they were read from, for messages.

    Raises:
        InputError: The tensors are too large in total, or one fails a check; the message names it.
    """
    # A small file may list one large tensor under many names; each would become a copy.
    if (size := sum(tensor.nbytes for tensor in state.values())) > LARGEST_TENSORS:
        raise InputError(f"{path}: expected at most {LARGEST_TENSORS} bytes of tensors, got {size}")
    for name, tensor in state.items():
        dense = tensor.layout == torch.strided and not (tensor.is_quantized or tensor.is_meta)
        if not dense or tensor.dtype not in _REAL + _WHOLE:
            kind = str(tensor.dtype).removeprefix("torch.")
            raise InputError(f"{path}: {name!r}: expected a plain tensor of real numbers, got {kind}")
        if tensor.dtype in _REAL and not (finite := tensor.isfinite()).all():
            count = int((~finite).sum())
            raise InputError(
                f"{path}: {name!r}: expected numbers, got NaN or infinity in {count} of {tensor.numel()} "
                "places; its training diverged, or the file is damaged"
            )
        if name.endswith("running_var") and bool((tensor < 0).any()):
            raise InputError(f"{path}: {name!r}: expected variances, got numbers below 0")
