"""The number of usable cores; the tests write imitations of the kernel's files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from megavid.core.machine.cores import cpu_quota, usable_cores

V1_FILES = ("cpu.cfs_quota_us", "cpu.cfs_period_us")


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/", {"cpu.max": "max 100000\n"}, None),
        # The quota is the lowest one of the group and its parents.
        ("0::/a/b", {"a/b/cpu.max": "400000 100000", "a/cpu.max": "200000 100000"}, 2),
        # In a container, the path of the group may be its path on the host, which does not exist here.
        ("0::/docker/0a1b", {"cpu.max": "300000 100000"}, 3),
        ("0::/../outside", {"cpu.max": "50000 100000"}, 0.5),
        (
            "4:cpu,cpuacct:/job\n0::/",
            {f"cpu/job/{V1_FILES[0]}": "250000", f"cpu/job/{V1_FILES[1]}": "100000"},
            2.5,
        ),
        ("4:cpu:/", {f"cpu/{V1_FILES[0]}": "-1", f"cpu/{V1_FILES[1]}": "100000"}, None),
        ("4:memory:/job\n", {"cpu.max": "100000 100000"}, None),
        ("nonsense", {"cpu.max": "100000 100000"}, 1),
        ("0::/", {"cpu.max": "nonsense"}, None),
        ("0::/", {}, None),
    ],
)
def test_the_cpu_quota_is_read(
    tmp_path: Path, groups: str, files: Mapping[str, str], expected: float | None
) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(groups)
    for name, text in files.items():
        path = tmp_path / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert cpu_quota(tmp_path) == expected


def test_without_control_groups_there_is_no_quota(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path) is None


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity here")
def test_usable_cores_follow_the_affinity_of_the_process() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, before)
