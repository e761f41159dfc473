"""The command line: a file each for the commands, listed in `COMMANDS`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

from megavid.cli.arguments import prepare_arguments, split_overrides
from megavid.cli.benchmark import Benchmark
from megavid.cli.convert import Convert
from megavid.cli.data import Data
from megavid.cli.demo import Demo
from megavid.cli.detect import Detect
from megavid.cli.evaluate import Evaluate
from megavid.cli.init import Init
from megavid.cli.output import describe_failure, output_is_closed, prepare_output, say
from megavid.cli.postprocess import Postprocess
from megavid.cli.score import Score
from megavid.cli.train import Train
from megavid.core.errors import InputError

COMMANDS: dict[str, Callable[..., Any]] = {
    "detect": Detect,
    "init": Init,
    "data": Data,
    "train": Train,
    "evaluate": Evaluate,
    "score": Score,
    "postprocess": Postprocess,
    "convert": Convert,
    "demo": Demo,
    "benchmark": Benchmark,
}

_DESCRIPTION = "Video object detection: find the objects in every frame, using the other frames of the video."


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: Its arguments; those of the process by default.

    Returns:
        The exit code: 0, 2 for a mistake in what the user gave, 130 when interrupted, 1 when nobody reads
        the output any more.
    """
    import tyro

    prepare_output()
    try:
        arguments, overrides = split_overrides(prepare_arguments(sys.argv[1:] if argv is None else argv))
        command: Any = tyro.extras.subcommand_cli_from_dict(
            COMMANDS,
            prog="megavid",
            description=_DESCRIPTION,
            args=arguments,
            config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitSubcommandPrefixes),
        )
        code = int(command.run(overrides))
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
        return 1  # as rich ends a program whose reader has gone
    except (MemoryError, OSError) as error:
        reason = describe_failure(error)
        if reason is None:
            raise
        say(f"megavid: error: {reason}", error=True)
        return 2
    return code


def console() -> None:
    """The `megavid` command: `main`, undisturbed by signals once it is done."""
    os.environ["MPLBACKEND"] = "agg"  # matplotlib fails at others that are not there, which nothing here uses
    code = main()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    sys.exit(code)
