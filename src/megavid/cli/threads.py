"""The option for the number of threads that a network computes on, shared by several commands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from megavid.cli.output import say

if TYPE_CHECKING:
    from megavid.jobs.executors.ranks import Ranks


@dataclass(frozen=True, kw_only=True)
class ThreadOptions:
    """How many threads compute."""

    threads: int | None = None
    """Threads that the network computes on. By default as many as there are cores that this process may use,
    fewer on a CPU whose cores other programs use, which is measured; or what OMP_NUM_THREADS says. A run
    that goes on computes on as many as before."""

    def check(self) -> None:
        """Check the number before any work.

        Raises:
            InputError: It is no number of threads.
        """
        from megavid.core.ranges import MOST_THREADS, check_range

        check_range("--threads", self.threads, least=1, most=MOST_THREADS)

    def choose(self, device: str, *, ranks: Ranks | None = None, before: int | None = None) -> None:
        """Set the number of threads and print what was chosen.

        Args:
            device: The device's name, such as "auto".
            ranks: This process among all; None for the only one.
            before: The number of threads of the earlier part of the same run, if known.

        Raises:
            InputError: `threads` is no number of threads.
        """
        from megavid.checkpoints.load import find_device
        from megavid.jobs.executors.ranks import Ranks
        from megavid.jobs.threads.thread_count import choose_threads

        self.check()
        ranks = ranks or Ranks()
        chosen = choose_threads(self.threads, device=find_device(device).type, before=before, ranks=ranks)
        if chosen and ranks.first:
            say(f"megavid: {chosen}", error=True)
