"""Find how much memory this process may use."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from megavid.core.machine.cores import control_groups


def usable_memory(root: Path = Path("/")) -> int:
    """Return the bytes of memory that this process may use at most: the machine's, or what it is limited to.

    Args:
        root: The folder that holds `proc` and `sys`.
    """
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min((machine, *_limits(root)))


def _limits(root: Path) -> Iterator[int]:
    own = resource.getrlimit(resource.RLIMIT_AS)[0]
    yield from () if own == resource.RLIM_INFINITY else (own,)
    for folder in control_groups(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):  # of version 2 and of version 1
            with suppress(OSError, ValueError):  # "max" is no limit
                yield int((folder / name).read_text())
