"""Generate command lines with invalid option values, for a test or to run by hand.

`python -m tests.cli.bad_lines 1000 [SEED]` runs a thousand lines, each in a separate process.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import typing
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, Literal

import numpy as np
import PIL.Image
import tyro

from megavid.checkpoints.weights import write_weights
from megavid.cli import COMMANDS, main
from megavid.cli.archive import Export, Status
from megavid.cli.archive_run import Run
from megavid.cli.data import Data
from megavid.cli.output import say
from tests.conftest import build_tiny
from tests.jobs.archive.small_archive import write_small_archive
from tests.training.small_run import recipe_values, write_recipe

INTEGERS = (
    "-1",
    "0",
    "7",
    "1000000000",
    "99999999999999999999",
    "1" * 400,
    "1.5",
    "0x10",
    "nan",
    "",
    "a",
    "-",
)
FLOATS = ("-1", "0", "1", "2", "nan", "inf", "-inf", "1e308", "1e-320", "", "a", "0,5")
TEXTS = (
    *(
        "",
        " ",
        ".",
        "..",
        "/",
        "~",
        "~nobody-there",
        "-",
        "--",
        "---",
        "nowhere",
        "nowhere/x.json",
        "*",
        "%d",
    ),
    *(
        "[/]",
        "[bold]x[/bold]",
        "[/red",
        "x\x1b[31mred",
        "a\nb",
        "狐",
        "\udcff",
        "a,,b",
        ",",
        "{}",
        "{",
        "null",
    ),
    *(
        "a" * 256,
        "a/" * 3000,
        "/dev/null",
        "/dev/zero",
        "/dev/full",
        "/proc/self/mem",
        "http://localhost:1/x",
    ),
    *("folder", "empty", "file.txt", "pipe", "link", "loop", "frames", "frames/000.png", "data.json"),
    *(
        "data.parquet",
        "weights.safetensors",
        "predictions.parquet",
        "file.txt/x.json",
        "empty.parquet",
        "bytes.pth",
    ),
    *("auto", "cpu", "cuda", "cuda:99", "mps", "mega_r50", "tracks", "none"),
)
LINES = {
    "detect": "detect frames --weights weights.safetensors -o out --device cpu --threads 1",
    "init": "init project --data data.json --device cpu --model single_frame_r50",
    "index": "data index data.json -o out",
    "check": "data check data.json",
    "stats": "data stats data.json",
    "export": "data export data.json --as coco -o out.json",
    "synthesize": "data synthesize out --videos 1 --frames 1 --workers 1",
    "train": "train recipe.yaml -o out --check --device cpu --threads 1",
    "evaluate": "evaluate --data data.json --weights weights.safetensors -o out --device cpu --threads 1",
    "score": "score predictions.parquet --data data.json",
    "link": "link predictions.parquet -o out.parquet --method seq_nms",
    "predictions": "predictions to out.csv predictions.parquet --as csv",
    "run": "archive run nowhere -o out --weights weights.safetensors --device cpu --threads 1",
    "status": "archive status archive",
    "export archive": "archive export archive -o out.parquet",
    "convert": "convert weights.safetensors out.safetensors",
    "demo": "demo --videos 0 --device cpu",
    "benchmark": "benchmark --weights weights.safetensors --height 48 --width 48 --frames 1 --device cpu",
}
"""A valid line for each command, or a line that fails at once if every valid line takes long."""

SLOW = {("demo", "videos", "7")}
"""Values that are not tried, as (command, option, value): the line would be valid and take minutes."""


def commands() -> dict[str, Any]:
    """Return the class of options of each command in `LINES`."""
    union = typing.get_args(typing.get_type_hints(Data)["command"])
    parts = {part.__name__.lower(): part for part in union}
    parts |= {"run": Run, "status": Status, "export archive": Export}
    return {name: parts.get(name) or COMMANDS[name] for name in LINES}


def options(command: Any) -> Iterator[tuple[str, Any, bool]]:
    """Yield each option of a command: its name, its type and whether it is positional."""
    hints = typing.get_type_hints(command, include_extras=True)
    for field in dataclasses.fields(command):
        hint = hints[field.name]
        marks = getattr(hint, "__metadata__", ())
        kind = typing.get_args(hint)[0] if marks else hint
        if dataclasses.is_dataclass(kind):
            yield from options(kind)
        elif field.name != "compile":  # compiling takes a minute
            yield field.name.replace("_", "-"), kind, tyro.conf.Positional in marks


def values(kind: Any) -> tuple[str, ...]:
    """Return the values to try for an option of a type."""
    if typing.get_origin(kind) is Literal:
        return (*map(str, typing.get_args(kind)), *random.sample(TEXTS, 3))
    kinds = typing.get_args(kind) or (kind,)
    if kind is bool:
        return ("",)
    if int in kinds:
        return INTEGERS
    if float in kinds:
        return FLOATS
    return TEXTS


def bad_lines(count: int, *, seed: int, names: Sequence[str] = tuple(LINES)) -> Iterator[list[str]]:
    """Yield lines in which one to three options have odd values; a seed always gives the same lines."""
    rng = random.Random(seed)
    random.seed(seed)
    known = {name: list(options(command)) for name, command in commands().items()}
    for _ in range(count):
        name = rng.choice(names)
        line = LINES[name].split()
        for option, kind, positional in rng.sample(
            known[name], min(rng.choice((1, 1, 2, 3)), len(known[name]))
        ):
            value = rng.choice([v for v in values(kind) if (name, option, v) not in SLOW])
            position = 2 if line[0] in {"archive", "data"} else 1
            if kind is bool:
                line.append(f"--{option}")
            elif positional and position < len(line) and not line[position].startswith("-"):
                line[position] = value
            elif option == "compare":
                line += ["--compare", value, rng.choice(TEXTS)]
            elif option == "output" and "-o" in line:
                line[line.index("-o") + 1] = value
            else:
                line += rng.choice(([f"--{option}", value], [f"--{option}={value}"]))
        yield line


def write_inputs(folder: Path) -> None:
    """Write to a folder all files that the lines name."""
    (folder / "frames").mkdir()
    for n in range(3):
        image = np.full((64, 96, 3), 40 * n, np.uint8)
        PIL.Image.fromarray(image).save(folder / "frames" / f"{n:03d}.png")
    for name in ("folder", "empty"):
        (folder / name).mkdir()
    (folder / "folder" / "file.txt").write_text("mine")
    for name in ("file.txt", "empty.parquet", "bytes.pth"):
        (folder / name).write_text("mine" if name != "empty.parquet" else "")
    (folder / "link").symlink_to(folder / "file.txt")
    (folder / "loop").symlink_to(folder / "loop")
    detector = build_tiny("single_frame")
    config = detector.config.model_dump(mode="json")
    write_weights(
        folder / "weights.safetensors", detector.state_dict(), config=config, about={"licence": "none"}
    )
    size = {"width": 96, "height": 64}
    images = [{"id": n + 1, "file_name": f"frames/{n:03d}.png", **size} for n in range(3)]
    images = [{**image, "video_id": 1, "frame_id": n} for n, image in enumerate(images)]
    boxes = [{"id": n + 1, "image_id": n + 1, "bbox": [5, 6, 20, 20], "category_id": 1} for n in range(3)]
    names = ("disc", "ring", "square")
    data = {
        "videos": [{"id": 1, "name": "frames"}],
        "images": images,
        "annotations": [{**box, "instance_id": 1, "video_id": 1} for box in boxes],
        "categories": [{"id": i + 1, "name": name} for i, name in enumerate(names)],
    }
    (folder / "data.json").write_text(json.dumps(data))
    write_recipe(folder / "recipe.yaml", recipe_values(Path("data.json"), "single_frame"))
    for line in (
        "data index data.json -o .",
        "detect frames --weights weights.safetensors -o made --score-threshold 0 --device cpu --threads 1",
    ):
        code, text = run_in_fork(line.split(), folder, seconds=60)
        assert code == 0, text
    (folder / "made" / "predictions.parquet").rename(folder / "predictions.parquet")
    write_small_archive(folder / "archive")
    (folder / "home").mkdir()


def copy_inputs(source: Path, folder: Path) -> None:
    """Copy the files that `write_inputs` wrote, and add a named pipe, which cannot be copied."""
    shutil.copytree(source, folder, symlinks=True)
    os.mkfifo(folder / "pipe")


def run(line: Sequence[str]) -> tuple[int | None, str]:
    """Run a line in this process; return its exit code (None for a traceback) and its output."""
    text = io.StringIO()
    try:
        with redirect_stdout(text), redirect_stderr(text):
            code = main(line)
    except SystemExit as end:
        return (end.code if isinstance(end.code, int) else 1), text.getvalue()
    except BaseException:
        return None, text.getvalue() + traceback.format_exc()
    return code, text.getvalue()


def run_in_fork(line: Sequence[str], folder: Path, *, seconds: int) -> tuple[int | None, str]:
    """Run a line in a forked process in a folder, like `run`; the code is None after a crash or hang, too."""
    report = folder / "report.json"
    report.unlink(missing_ok=True)
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        os.chdir(folder)
        os.environ["HOME"] = str(folder / "home")
        report.write_text(json.dumps(run(line)))
        os._exit(0)
    end = time.monotonic() + seconds
    while os.waitpid(pid, os.WNOHANG)[0] == 0:
        if time.monotonic() > end:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return None, f"no end after {seconds} s"
        time.sleep(0.01)
    if not report.exists():
        return None, "crashed"
    code, text = json.loads(report.read_text())
    return code, text


if __name__ == "__main__":
    wanted, start = (int(argument) for argument in (*sys.argv[1:], "0")[:2])
    with tempfile.TemporaryDirectory() as template:
        write_inputs(Path(template))
        for number, bad in enumerate(bad_lines(wanted, seed=start)):
            with tempfile.TemporaryDirectory() as top:
                copy_inputs(Path(template), Path(top) / "place")
                result, printed = run_in_fork(bad, Path(top) / "place", seconds=20)
            if result not in {0, 1, 2}:
                say(f"{number}: {bad}: {result}: {printed[-1500:]}")
            elif result == 0:
                say(f"{number}: fine: {bad}: {printed.strip()[-150:]!r}")
