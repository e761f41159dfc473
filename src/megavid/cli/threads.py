"""Option for the number of threads, shared by several commands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from megavid.cli.options import optional
from megavid.cli.output import say

if TYPE_CHECKING:
    from megavid.jobs.executors.ranks import Ranks


@dataclass(frozen=True, kw_only=True)
class ThreadOptions:
    """Number of threads to compute on."""

    threads: Annotated[int | None, optional("INT", "measured")] = None
    """Number of threads that the network computes on. By default, OMP_NUM_THREADS if it is set, else the
    number of cores that this process may use, or fewer if a short measurement on a CPU shows that other
    programs keep cores busy. A resumed run keeps its number."""

    def check(self) -> None:
        """Check the number before any work begins.

        Raises:
            InputError: The number is out of range.
        """
        from megavid.core.ranges import MOST_THREADS, check_range

        check_range("--threads", self.threads, least=1, most=MOST_THREADS)

    def choose(self, device: str, *, ranks: Ranks | None = None, before: int | None = None) -> None:
        """Set the number of threads, and print it with the reason if the user did not choose it.

        Args:
            device: Name of the device, such as "auto".
            ranks: Place of this process among all processes; None for a single process.
            before: Number of threads that a resumed run used before; None if unknown or not resumed.

        Raises:
            InputError: The number is out of range.
        """
        from megavid.checkpoints.load import find_device
        from megavid.jobs.executors.ranks import Ranks
        from megavid.jobs.threads.thread_count import choose_threads

        self.check()
        ranks = ranks or Ranks()
        chosen = choose_threads(self.threads, device=find_device(device).type, before=before, ranks=ranks)
        if chosen and ranks.first:
            say(f"megavid: {chosen}", error=True)
