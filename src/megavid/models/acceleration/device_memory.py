"""Translate errors about full memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from megavid.core.errors import InputError

_WORDS = ("out of memory", "not enough memory", "can't allocate memory", "alloc_failed")
"""Words of PyTorch's other errors about full memory: on Apple's chips, in libraries of CUDA and on a CPU."""


@contextmanager
def translate_memory_errors(message: str) -> Iterator[None]:
    """Turn PyTorch's errors about full memory inside the `with` block into a one-line error.

    Args:
        message: What was done with how large a batch, and what to set for it to take less memory.

    Raises:
        InputError: The memory of the device was full.
    """
    try:
        yield
    except RuntimeError as error:
        if not _is_about_memory(error):
            raise
        raise InputError(message) from error


def _is_about_memory(error: BaseException | None) -> bool:
    """Return whether memory was full, or was the reason why something else, such as a capture, failed."""
    if error is None:
        return False
    words = str(error).lower()
    found = isinstance(error, torch.OutOfMemoryError) or any(word in words for word in _WORDS)
    return found or _is_about_memory(error.__context__)
