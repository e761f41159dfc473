"""The usable memory; the tests write imitations of the kernel's files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from megavid.core.machine.memory import usable_memory


@pytest.mark.parametrize(
    ("groups", "file", "text", "expected"),
    [
        ("0::/job", "job/memory.max", "1000000\n", 1_000_000),
        ("0::/job", "memory.max", "2000000\n", 2_000_000),
        ("4:memory:/job", "memory/job/memory.limit_in_bytes", "3000000\n", 3_000_000),
        ("0::/job", "job/memory.max", "max\n", None),
        ("4:cpu:/job", "memory/job/memory.limit_in_bytes", "3000000\n", None),
    ],
)
def test_the_memory_limit_of_the_control_group_is_read(
    tmp_path: Path, groups: str, file: str, text: str, expected: int | None
) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(groups)
    path = tmp_path / "sys/fs/cgroup" / file
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert usable_memory(tmp_path) == (expected or usable_memory(tmp_path / "none"))


def test_the_memory_limit_of_the_process_counts() -> None:
    script = """
import resource
from megavid.core.machine.memory import usable_memory
resource.setrlimit(resource.RLIMIT_AS, (2_000_000_000, resource.getrlimit(resource.RLIMIT_AS)[1]))
print(usable_memory())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "2000000000\n"
