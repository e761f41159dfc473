"""Count the cores that this process may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def usable_cores() -> int:
    """Count the cores that this process may use, by its CPU affinity and its control group's quota.

    Fractions are rounded down: with a quota of 1.5 cores, a second thread would be stopped half of the time
    while the first one waits for it.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota()
    return cores if quota is None else max(min(cores, int(quota)), 1)


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Read the number of cores that the control groups of this process allow; None for no limit.

    Args:
        root: Folder that contains `proc` and `sys`.
    """
    limits = [limit for folder in control_groups(root, "cpu") if (limit := _limit_of(folder)) is not None]
    return min(limits, default=None)


def control_groups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of this process's control group and of its parents, for versions 1 and 2.

    In a container, the group's path may be that of the host and not exist; its parents are yielded all the
    same.

    Args:
        root: Folder that contains `proc` and `sys`.
        controller: "cpu" or "memory".
    """
    lines: list[str] = []
    with suppress(OSError, UnicodeDecodeError):
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    for line in lines:
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers and controller not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / (controller if controllers else "")
        place = Path(path.lstrip("/"))
        for part in (place, *place.parents):
            if ".." not in part.parts:
                yield top / part


def _limit_of(folder: Path) -> float | None:
    """Read the quota of one control group, from `cpu.max` (version 2) or from two files (version 1)."""
    with suppress(OSError, ValueError):
        quota, period = (folder / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    with suppress(OSError, ValueError, ZeroDivisionError):
        quota = (folder / "cpu.cfs_quota_us").read_text()
        period = (folder / "cpu.cfs_period_us").read_text()
        return int(quota) / int(period) if int(quota) > 0 else None
    return None
