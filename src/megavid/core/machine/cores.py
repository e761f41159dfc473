"""Count the cores that this process may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def usable_cores() -> int:
    """Count the cores that this process may use, given its CPU affinity and the quota of its control group.

    Fractions are rounded down: with a quota of 1.5 cores, a second thread would be suspended half of the
    time, and the first thread would have to wait for it.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota()
    return cores if quota is None else max(min(cores, int(quota)), 1)


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Read the number of cores that the control groups of this process allow; None if there is no limit.

    Args:
        root: Folder that contains `proc` and `sys`.
    """
    limits = [limit for folder in control_groups(root, "cpu") if (limit := _limit_of(folder)) is not None]
    return min(limits, default=None)


def control_groups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of this process's control group and of the group's parents.

    Versions 1 and 2 of control groups are supported. In a container, the path of the group may be the one on
    the host, so that its folder does not exist. The folders of the group's parents are yielded nevertheless.

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
    """Read the quota of one control group in cores, from `cpu.max` (version 2) or two files (version 1)."""
    with suppress(OSError, ValueError):
        quota, period = (folder / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    with suppress(OSError, ValueError, ZeroDivisionError):
        quota = (folder / "cpu.cfs_quota_us").read_text()
        period = (folder / "cpu.cfs_period_us").read_text()
        return int(quota) / int(period) if int(quota) > 0 else None
    return None
