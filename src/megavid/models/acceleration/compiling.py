"""Translate errors of torch.compile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from megavid.core.errors import InputError


@contextmanager
def translate_compiler_errors(setting: str) -> Iterator[None]:
    """Turn errors of torch.compile inside the `with` block into a one-line error that names a setting.

    Args:
        setting: Option or key that asked for compilation, for messages.

    Raises:
        InputError: Compilation failed.
    """
    try:
        yield
    except RuntimeError as error:
        if not type(error).__module__.startswith(("torch._inductor", "torch._dynamo")):
            raise
        raise InputError(
            f"{setting}: expected a C++ compiler on a CPU, or Triton on a GPU, which PyTorch compiles with; "
            f"do without {setting} if there is none: {str(error).splitlines()[0]}"
        ) from error
