"""Run fuzz targets on mutated inputs, in a process with limited memory and time.

`python -m tests.fuzz.worker SUITE --seconds 600 --seed 7` runs for ten minutes;
`python -m tests.fuzz.worker SUITE --only TARGET --trial 17 --seed 7` repeats one trial and keeps its inputs.

The program prints a line of JSON before each trial and another for each failure. If the process dies, the
last line names the trial during which it died.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import FrameType

MEMORY = 4 << 30
"""How much the address space of the process may grow over all trials, in bytes."""

SECONDS = 20
"""Time limit of a trial, in seconds."""


@dataclass(frozen=True)
class Target:
    """Code that reads files or arguments of a user.

    Attributes:
        name: Name in messages.
        make: Function that writes valid inputs to a folder.
        run: Function that mutates a copy of that folder and reads it. It may raise no error but `InputError`.
    """

    name: str
    make: Callable[[Path], object]
    run: Callable[[Path, random.Random], None]


class TooSlow(BaseException):
    """A trial exceeded its time limit. Not an `Exception`, so that readers do not catch it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run trials of all targets in turn, and return 0 even if some fail."""
    parser = argparse.ArgumentParser()
    parser.add_argument("suite", choices=("readers", "commands"))
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default=None)
    parser.add_argument("--trial", type=int, default=None)
    options = parser.parse_args(argv)
    targets = [t for t in _targets(options.suite) if options.only in (None, t.name)]
    with tempfile.TemporaryDirectory() as name:
        seeds = {target.name: Path(name) / "seeds" / target.name for target in targets}
        for target in targets:
            seeds[target.name].mkdir(parents=True)
            target.make(seeds[target.name])
        _limit_memory()
        signal.signal(signal.SIGALRM, _stop_trial)
        deadline = time.monotonic() + options.seconds
        for number in count() if options.trial is None else [options.trial]:
            for target in targets:
                if options.trial is None and time.monotonic() > deadline:
                    return 0
                workspace = Path(name) / "trial"
                shutil.copytree(seeds[target.name], workspace, symlinks=True)
                _report({"target": target.name, "trial": number})
                failure = _try(target, workspace, random.Random(f"{options.seed} {number}"))
                if failure:
                    _report({"failure": failure})
                if options.trial is not None:
                    kept = f"trial-{target.name}-{number}"
                    shutil.copytree(workspace, kept, symlinks=True, ignore=shutil.ignore_patterns("pipe"))
                shutil.rmtree(workspace)
    return 0


def _report(line: dict[str, str | int]) -> None:
    sys.stdout.write(f"{json.dumps(line)}\n")
    sys.stdout.flush()


def _targets(suite: str) -> list[Target]:
    if suite == "readers":
        from tests.fuzz.readers import TARGETS

        return TARGETS
    from tests.fuzz.commands import TARGETS as COMMANDS

    return COMMANDS


def _try(target: Target, workspace: Path, rng: random.Random) -> str:
    """Run one trial, and return a description of its failure, or "" if it succeeded."""
    from megavid.core.errors import InputError

    try:
        with _time_limit(), _in_folder(workspace), _silence():
            target.run(workspace, rng)
    except InputError as error:
        text = str(error)
        return "" if text and text.isprintable() else f"expected an error of one printable line, got {text!r}"
    except TooSlow:
        return f"took longer than {SECONDS} s:\n{traceback.format_exc()}"
    except BaseException:  # including MemoryError and SystemExit
        return traceback.format_exc()
    return ""


@contextmanager
def _time_limit() -> Iterator[None]:
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    faulthandler.dump_traceback_later(3 * SECONDS, exit=True)  # for code that never returns to Python
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()


def _stop_trial(number: int, frame: FrameType | None) -> None:
    raise TooSlow


@contextmanager
def _in_folder(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextmanager
def _silence() -> Iterator[None]:
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


if __name__ == "__main__":
    sys.exit(main())
