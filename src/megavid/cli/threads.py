"""The option that says on how many threads a network computes, which several commands have."""

from __future__ import annotations

import os
from dataclasses import dataclass

from megavid.cli.output import say


@dataclass(frozen=True, kw_only=True)
class ThreadOptions:
    """How many threads compute."""

    threads: int | None = None
    """Threads that the network computes on. By default as many as there are cores that this process may use,
    fewer on a CPU whose cores other programs use, which is measured; or what OMP_NUM_THREADS says."""

    def choose(self, device: str) -> None:
        """Set the number of threads for a device, such as "auto", and print what was chosen."""
        from megavid.convert.load import find_device
        from megavid.engine.threads import choose_threads

        chosen = choose_threads(self.threads, device=find_device(device).type)
        if chosen and os.environ.get("RANK", "0") == "0":  # of torchrun's processes the first alone
            say(f"megavid: {chosen}", error=True)
