"""Show the progress of long work: as a bar on a terminal, or else as a line now and then."""

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
"""Seconds until the first line, and seconds between later lines."""

_WINDOW = 120.0
"""Seconds over which the speed is averaged."""


class Meter:
    """The progress of a piece of work.

    Args:
        unit: Plural name of what is counted.
        total: Amount of the work; None if it is unknown.
        done: Amount that was already done at the start.
        show: Called with the meter after each change.
        bar: The bar that shows the meter on a terminal, for `paused` to hide; None if there is none.
        clock: Returns the time in seconds.

    Attributes:
        done: Amount done.
        total: Amount of the work; None if it is unknown.
        note: More about the work, such as the latest loss of a training run.
        later: Seconds that other work is expected to take; the remaining time includes them.
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
        """Set the amount done; also set the total and the note if they are given."""
        self.done, self.total = done, self.total if total is None else total
        self.note = self.note if note is None else note
        now = self._clock() - self._paused
        self._samples.append((now, done))
        while len(self._samples) > 2 and now - self._samples[1][0] > _WINDOW:
            self._samples.popleft()
        self._show(self)

    def advance(self, count: int = 1) -> None:
        """Add to the amount done."""
        self.update(self.done + count)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Exclude other work in a `with` block from the speed, and hide the bar during it."""
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
        """Format the amount done, the speed and the remaining time, as far as they are known."""
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
        """Return the speed in units per second; 0 during the first second."""
        (began, before), (now, done) = self._samples[0], self._samples[-1]
        return (done - before) / (now - began) if now - began >= 1 else 0.0


@contextmanager
def progress(
    description: str,
    *,
    total: int | None = None,
    done: int = 0,
    unit: str = "frames",
    shown: bool = True,
) -> Iterator[Meter]:
    """Show the progress of a piece of work on standard error while the context lasts.

    A terminal shows a bar. Elsewhere the first line comes after some seconds, then one every half minute.

    Args:
        description: Name of the work, such as a video's; characters that cannot be printed are replaced.
        total: Amount of the work; None if it is unknown.
        done: Amount that was already done at the start.
        unit: Plural name of what is counted.
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
        with _bar(printable(description), total, done, unit) as meter:
            yield meter
    else:
        lines = _Lines(printable(description))
        meter = Meter(unit=unit, total=total, done=done, show=lines.show)
        yield meter
        lines.finish(meter)


def say(text: str) -> None:
    """Print a line on standard error, above the bar if there is one."""
    sys.stderr.write(f"megavid: {printable(text, limit=2000)}\n")
    sys.stderr.flush()


@contextmanager
def _bar(description: str, total: int | None, done: int, unit: str) -> Iterator[Meter]:
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[text]}", markup=False),
        console=Console(stderr=True),
    ) as bar:
        task = bar.add_task(description, total=total, completed=done, text="")

        def show(meter: Meter) -> None:
            bar.update(task, completed=meter.done, total=meter.total, text=str(meter))

        yield Meter(unit=unit, total=total, done=done, show=show, bar=bar)


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
        """Print the last line, unless the work was too short for any line or the line is already printed."""
        if self._last not in {"", str(meter)}:
            self._print(meter)

    def _print(self, meter: Meter) -> None:
        self._next = self._clock() + _EVERY
        self._last = str(meter)
        say(f"{self._description}: {self._last}")
