"""The command line: one file per command, listed in `COMMANDS`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

from megavid.cli.archive import Archive
from megavid.cli.arguments import prepare_arguments, split_overrides
from megavid.cli.benchmark import Benchmark
from megavid.cli.convert import Convert
from megavid.cli.data import Data
from megavid.cli.demo import Demo
from megavid.cli.detect import Detect
from megavid.cli.evaluate import Evaluate
from megavid.cli.init import Init
from megavid.cli.link import Link
from megavid.cli.output import describe_failure, output_is_closed, prepare_output, say
from megavid.cli.predictions import Predictions
from megavid.cli.score import Score
from megavid.cli.train import Train
from megavid.cli.weights import WeightsCommand
from megavid.core.errors import InputError

COMMANDS: dict[str, Callable[..., Any]] = {
    "detect": Detect,
    "init": Init,
    "data": Data,
    "train": Train,
    "evaluate": Evaluate,
    "score": Score,
    "link": Link,
    "predictions": Predictions,
    "archive": Archive,
    "convert": Convert,
    "weights": WeightsCommand,
    "demo": Demo,
    "benchmark": Benchmark,
}

_DESCRIPTION = "Video object detection: find the objects in every frame, using the other frames of the video."


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: Command-line arguments without the program's name; None for those of the process (`sys.argv`).

    Returns:
        The exit code: that of the command, usually 0; 2 for a user's mistake, a full disk or too little
        memory; 130 when interrupted; 1 when the program that reads standard output has closed it.
    """
    prepare_output()
    try:
        code = _run_command(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
    except InputError as error:
        say(f"megavid: error: {error}", error=True)
        return 2
    except KeyboardInterrupt:
        say("megavid: interrupted", error=True)
        return 130
    except BrokenPipeError:
        if not output_is_closed():
            raise
        return 1  # the code that rich also uses when the output is closed
    except (MemoryError, OSError) as error:
        reason = describe_failure(error)
        if reason is None:
            raise
        say(f"megavid: error: {reason}", error=True)
        return 2
    return code


def _run_command(argv: Sequence[str]) -> int:
    import tyro

    arguments, overrides = split_overrides(prepare_arguments(argv))
    command: Any = tyro.extras.subcommand_cli_from_dict(
        COMMANDS,
        prog="megavid",
        description=_DESCRIPTION,
        args=arguments,
        config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitSubcommandPrefixes),
    )
    return int(command.run(overrides))


def console() -> None:
    """Run `main` as the entry point of a process, and ignore signals while the process exits."""
    os.environ["MPLBACKEND"] = "agg"  # a user's value may name a backend that is not installed
    code = main()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    sys.exit(code)
