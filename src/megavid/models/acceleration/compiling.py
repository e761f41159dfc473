"""What torch.compile needs, in words that say which setting asked for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from megavid.core.errors import InputError


@contextmanager
def compiler_watched(setting: str) -> Iterator[None]:
    """Where something may be compiled for the first time.

    Args:
        setting: The option or key that asks for it, for messages.

    Raises:
        InputError: Nothing can be compiled here.
    """
    try:
        yield
    except RuntimeError as error:
        if not type(error).__module__.startswith(("torch._inductor", "torch._dynamo")):
            raise
        raise InputError(
            f"{setting}: expected what PyTorch compiles with, a C++ compiler on a CPU, Triton on a GPU; "
            f"do without {setting} where there is none: {str(error).splitlines()[0]}"
        ) from error
