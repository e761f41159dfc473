"""The command line: a file each for the commands, listed in `COMMANDS`."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

from megavid.cli.benchmark import Benchmark
from megavid.cli.convert import Convert
from megavid.cli.data import Data
from megavid.cli.demo import Demo
from megavid.cli.detect import Detect
from megavid.cli.evaluate import Evaluate
from megavid.cli.init import Init
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
        The exit code: 0, 2 for a mistake in what the user gave, 130 when interrupted.
    """
    import tyro

    logging.basicConfig(level=logging.WARNING, format="megavid: %(levelname)s: %(message)s")
    arguments, overrides = split_overrides(sys.argv[1:] if argv is None else argv)
    try:
        command: Any = tyro.extras.subcommand_cli_from_dict(
            COMMANDS,
            prog="megavid",
            description=_DESCRIPTION,
            args=arguments,
            config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitSubcommandPrefixes),
        )
        return int(command.run(overrides))
    except InputError as error:
        print(f"megavid: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("megavid: interrupted", file=sys.stderr)
        return 130


def console() -> None:
    """The `megavid` command: `main`, undisturbed by signals once it is done."""
    code = main()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    sys.exit(code)


def split_overrides(argv: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Options with a dot in their name, such as `--method.window 6`, apart from the others.

    Returns:
        The other arguments, and {"method.window": "6"}. An option without a value has "".
    """
    rest: list[str] = []
    overrides: dict[str, str] = {}
    arguments = list(argv)
    while arguments:
        argument = arguments.pop(0)
        name, equals, value = argument.partition("=")
        if not name.startswith("--") or "." not in name:
            rest.append(argument)
            continue
        if not equals:
            value = arguments.pop(0) if arguments and not arguments[0].startswith("--") else ""
        overrides[name[2:].replace("-", "_")] = value
    return rest, overrides
