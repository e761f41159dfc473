"""Progress of long work with an ETA: a bar on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from megavid.core.text import printable

_FIRST, _EVERY = 5.0, 30.0
"""Seconds until the first line and from one to the next, where there is no terminal."""

_WINDOW = 120.0
"""Seconds over which speed is averaged."""


class Meter:
    """The progress of a piece of work.

    Args:
        unit: What is counted, in the plural.
        total: How much there is; None where that is not known (yet).
        done: How much was done before.
        show: Called with the meter whenever it has changed.
        bar: What shows it on a terminal.
        clock: Tells the time, seconds.

    Attributes:
        done, total: See above.
        note: What else to say of the work, such as its last loss.
        later: Seconds of other work, which come on top of what is counted.
    """

    def __init__(
        self,
        *,
        unit: str,
        total: int | None,
        done: int = 0,
        show: Callable[[Meter], None] = lambda meter: None,
        bar: Progress | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.done, self.total = done, total
        self.note, self.later = "", 0.0
        self._unit, self._show, self._bar, self._clock = unit, show, bar, clock
        self._samples = deque([(clock(), done)])
        self._paused = 0.0

    def update(self, done: int, total: int | None = None, *, note: str | None = None) -> None:
        """Set how much is done in all, and what else is known now."""
        self.done, self.total = done, self.total if total is None else total
        self.note = self.note if note is None else note
        now = self._clock() - self._paused
        self._samples.append((now, done))
        while len(self._samples) > 2 and now - self._samples[1][0] > _WINDOW:
            self._samples.popleft()
        self._show(self)

    def advance(self, count: int = 1) -> None:
        """Add to how much is done."""
        self.update(self.done + count)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Exclude the time of a block, in which other work is done and shown, from the speed."""
        began = self._clock()
        if self._bar is not None:
            self._bar.stop()
        try:
            yield
        finally:
            self._paused += self._clock() - began
            if self._bar is not None:
                self._bar.start()

    def __str__(self) -> str:
        """Amount done, speed and time left, as far as they are known."""
        if self.total is None and self.done == 0:
            return self.note
        of_all = "" if self.total is None else f"/{self.total}"
        words = [f"{self.done}{of_all} {self._unit}"]
        speed = self._speed()
        if speed:
            words.append(f"{speed:.3g} {self._unit}/s")
            if self.total is not None and self.done < self.total:
                left = (self.total - self.done) / speed + self.later
                words.append(f"ETA {timedelta(seconds=round(left))}")
        return ", ".join([*words, self.note] if self.note else words)

    def _speed(self) -> float:
        """Units a second; 0 where not enough was done to tell."""
        (began, before), (now, done) = self._samples[0], self._samples[-1]
        return (done - before) / (now - began) if now - began >= 1 else 0.0


class _Lines:
    """Prints a meter as a line now and then."""

    def __init__(self, description: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._description, self._clock = description, clock
        self._next = clock() + _FIRST
        self._last = ""

    def show(self, meter: Meter) -> None:
        if self._clock() >= self._next:
            self._print(meter)

    def finish(self, meter: Meter) -> None:
        """Print the last line, unless there was none before since the work was short, or it is there."""
        if self._last not in {"", str(meter)}:
            self._print(meter)

    def _print(self, meter: Meter) -> None:
        self._next = self._clock() + _EVERY
        self._last = str(meter)
        say(f"{self._description}: {self._last}")


def say(text: str) -> None:
    """Print a line on standard error, above the bar where there is one."""
    sys.stderr.write(f"megavid: {printable(text, limit=2000)}\n")
    sys.stderr.flush()


@contextmanager
def progress(
    description: str,
    *,
    total: int | None = None,
    done: int = 0,
    unit: str = "frames",
    shown: bool = True,
) -> Iterator[Meter]:
    """Show on standard error how far a piece of work is.

    On a terminal that is a bar; elsewhere a line after some seconds, one every half a minute, and a last one.

    Args:
        description: What is done; may come from data.
        total: How much there is; None where that is not known yet, or for a live stream never is.
        done: How much was done before.
        unit: What is counted, in the plural.
        shown: Whether to show anything.

    Examples:
        >>> with progress("detecting", total=len(video)) as meter:
        ...     for frame in video:
        ...         detect(frame)
        ...         meter.advance()
    """
    if not shown:
        yield Meter(unit=unit, total=total, done=done)
    elif sys.stderr.isatty():
        with Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[text]}", markup=False),
            console=Console(stderr=True),
        ) as bar:
            task = bar.add_task(printable(description), total=total, completed=done, text="")

            def show(meter: Meter) -> None:
                bar.update(task, completed=meter.done, total=meter.total, text=str(meter))

            yield Meter(unit=unit, total=total, done=done, show=show, bar=bar)
    else:
        lines = _Lines(printable(description))
        meter = Meter(unit=unit, total=total, done=done, show=lines.show)
        yield meter
        lines.finish(meter)
