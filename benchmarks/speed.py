"""Measure the cost of a frame for each method and inference setting, and the gain of each speed-up.

    python -m benchmarks.speed [--device cpu] [--frames 10] [--rows NAME ...] [--plot docs/speed.png]

For each row of the table, `megavid benchmark` runs in a separate process: ResNet-101 on a 1280x720 video,
with input size 600/1000. The unit of cost is a trunk pass: the time of one eager float32 pass through the
plain trunk, measured between the steps. This unit makes machines comparable. Writes
benchmarks/results/speed.json, prints a table and, with --plot, draws the parts of each frame's time as
stacked bars. Rows that were measured earlier, at the same commit and on the same machine, are kept unless
--rows names them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, get_args

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.commit import commit
from megavid.core.profiling import PROFILE_RANGES
from megavid.jobs.measure_speed import describe_machine
from megavid.models.acceleration.inference import KeepsRounding, MayRound
from megavid.models.method_registry import METHODS

RESULTS = Path(__file__).parent / "results" / "speed.json"

SETTINGS: dict[str, list[str]] = {
    "plain": ["--plain"],
    "fast": [],
    "compiled": ["--compile"],
    "compiled loose": ["--compile", "--loose"],
    "compiled bfloat16": ["--compile", "--dtype", "bfloat16"],
}

COMPARED = ("single_frame", "mega")

ROWS: dict[str, list[str]] = {
    **{f"{method} {name}": [method, *options] for name, options in SETTINGS.items() for method in COMPARED},
    **{f"{method} compiled": [method, *SETTINGS["compiled"]] for method in METHODS},
    "mega compiled loose bfloat16": ["mega", "--compile", "--loose", "--dtype", "bfloat16"],
    **{f"mega without {name}": ["mega", "--without", name] for name in get_args(KeepsRounding)},
    **{
        f"mega compiled bfloat16 without {name}": ["mega", *SETTINGS["compiled bfloat16"], "--without", name]
        for name in get_args(MayRound)
    },
}

COLUMNS = ("row", "trunk s", "frame s", "trunks", "frames/s", "first s", "encodes", "peak MB")

COLORS = dict(
    zip(
        (*PROFILE_RANGES, "other"),
        (
            "#7f7f7f",
            "#1f4e79",
            "#2e75b6",
            "#9dc3e6",
            "#e2a32b",
            "#c55a11",
            "#548235",
            "#a9d18e",
            "#7030a0",
            "#c00000",
            "#d9d9d9",
        ),
        strict=True,
    )
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--frames", type=int, default=10)
    parser.add_argument("--rows", nargs="*", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    RESULTS.parent.mkdir(exist_ok=True)
    results = earlier_rows(torch.device(arguments.device))
    print(f"{COLUMNS[0]:44}" + "".join(f"{name:>10}" for name in COLUMNS[1:]))
    for name in arguments.rows:
        method, *options = ROWS[name]
        options = [*options, "--device", arguments.device, "--frames", str(arguments.frames)]
        results[name] = measure([f"{method}_r101", *options])
        RESULTS.write_text(json.dumps(results, indent=1))
        show(name, results[name])
    if arguments.plot is not None:
        draw({name: results[name] for name in ROWS if name in results}).savefig(arguments.plot, dpi=110)


def earlier_rows(device: torch.device) -> dict[str, Any]:
    """Read the saved rows that were measured at the current commit on this machine."""
    rows: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    here = (commit(), describe_machine(device))
    return {name: row for name, row in rows.items() if (row["commit"], row["machine"]) == here}


def measure(arguments: list[str]) -> dict[str, Any]:
    """Run `megavid benchmark`, and return its report with the current commit added."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "report.json"
        command = [sys.executable, "-m", "megavid", "benchmark", *arguments, "-o", str(output)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        report: dict[str, Any] = json.loads(output.read_text())
    return report | {"commit": commit()}


def show(name: str, row: dict[str, Any]) -> None:
    numbers = (
        f"{row['unit_seconds']:.3f}",
        f"{row['frame_seconds']:.3f}",
        f"{row['units_per_frame']:.2f}",
        f"{row['frames_per_second']:.2f}",
        f"{row['first_seconds']:.1f}",
        f"{row['encodes_per_frame']:.2f}",
        f"{row['peak_megabytes']:.0f}",
    )
    print(f"{name:44}" + "".join(f"{number:>10}" for number in numbers), flush=True)


def draw(rows: dict[str, dict[str, Any]]) -> Figure:
    """Draw a stacked bar for each row; its parts are the parts of a frame's time, in trunk passes."""
    figure = Figure(figsize=(11, 1.6 + 0.34 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    names = list(rows)
    starts = [0.0] * len(names)
    for part in (*PROFILE_RANGES, "other"):
        lengths = [in_trunks(rows[name], part) for name in names]
        if any(lengths):
            axes.barh(names, lengths, left=starts, label=part, color=COLORS[part], height=0.72)
            starts = [start + length for start, length in zip(starts, lengths, strict=True)]
    for position, (name, end) in enumerate(zip(names, starts, strict=True)):
        axes.text(end + 0.03, position, f"{rows[name]['units_per_frame']:.2f}", va="center", fontsize=8)
    axes.invert_yaxis()
    axes.set(xlabel="plain float32 trunk passes per frame", xlim=(0, max(starts) * 1.06))
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    axes.spines[["top", "right"]].set_visible(False)
    machine = next(iter(rows.values()))["machine"]
    axes.set_title(
        f"ResNet-101, 999x562; {machine['device']}, {machine['threads']} threads, torch {machine['torch']}",
        fontsize=10,
    )
    return figure


def in_trunks(row: dict[str, Any], part: str) -> float:
    """Return the time of one part of a frame, in trunk passes.

    The profiler adds time, so all parts are scaled down together to match the frame's time without it.
    """
    parts = row["range_seconds"]
    total = max(sum(parts.values()), row["frame_seconds"])
    seconds = parts.get(part, 0.0) if part != "other" else total - sum(parts.values())
    return float(seconds * row["units_per_frame"] / total)


if __name__ == "__main__":
    main()
