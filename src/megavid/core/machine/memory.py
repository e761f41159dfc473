"""Find out how much memory this process may use."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from megavid.core.machine.cores import control_groups


def usable_memory(root: Path = Path("/")) -> int:
    """Return the memory of the machine or the lowest limit of this process, whichever is less, in bytes.

    Args:
        root: Folder that contains `proc` and `sys`.
    """
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min((machine, *_limits(root)))


def _limits(root: Path) -> Iterator[int]:
    own = resource.getrlimit(resource.RLIMIT_AS)[0]
    yield from () if own == resource.RLIM_INFINITY else (own,)
    for folder in control_groups(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):  # control groups 2 and 1
            with suppress(OSError, ValueError):  # "max" means no limit
                yield int((folder / name).read_text())
