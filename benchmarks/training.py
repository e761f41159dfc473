"""Measure the training of MEGA: seconds per step, peak memory and the share of time spent waiting for data.

    python -m benchmarks.training [ROW ...]

For each row of the table, `megavid train` runs in a separate process, on a generated set. The model is the
small one of the recipe `generated`, or MEGA R-50 at 600/1000 with one clip (eight frames) per step. Each
model is trained in float32, in bfloat16 (autocast), and in float32 with activation checkpointing. The numbers
come from the last line of the log that has a loss; that line does not cover the first, slower steps.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from megavid.datasets.synthetic.write_data_set import SyntheticSet, write_synthetic_set

SMALL = ["generated", "--model", "mega_r50", "--run.steps", "120", "--log.every", "60"]
SMALL += ["--optimizer.milestones", "[]"]
LARGE = ["large.yaml"]
VARIANTS = {
    "float32": ["--run.dtype", "float32"],
    "bfloat16": ["--run.dtype", "bfloat16"],
    "activation checkpointing": ["--run.dtype", "float32", "--run.activation_checkpointing", "true"],
}
ROWS = {
    f"{name} {variant}": [*model, *options]
    for name, model in (("small", SMALL), ("mega_r50", LARGE))
    for variant, options in VARIANTS.items()
}

RECIPE: dict[str, Any] = {
    "model": "mega_r50",
    "settings": {"backbone.norm": "group"},
    "data": {"train": [{"path": "large", "subset": "vid_train"}]},
    "optimizer": {"learning_rate": 0.001, "clip_norm": 5.0},
    "run": {"steps": 4, "batch": 1, "frozen_stages": 2, "workers": 2},
    "log": {"every": 2},
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("rows", nargs="*", metavar="ROW")
    rows = parser.parse_args().rows or list(ROWS)
    if unknown := [row for row in rows if row not in ROWS]:
        parser.error(f"expected some of {', '.join(ROWS)}, got {unknown[0]!r}")
    print("{:34}{:>10}{:>10}{:>12}".format("row", "s/step", "peak MB", "data wait"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_synthetic_set(folder / "generated", SyntheticSet(videos=10))
        write_synthetic_set(folder / "large", SyntheticSet(videos=4, frames=16, height=360, width=640))
        (folder / "large.yaml").write_text(yaml.safe_dump(RECIPE))
        for row in rows:
            line = train(folder, ROWS[row], folder / row.replace(" ", "_"))
            numbers = f"{line['seconds']:10.2f}{line['memory_mb']:10.0f}{line['data_wait']:12.1%}"
            print(f"{row:34}{numbers}", flush=True)


def train(folder: Path, arguments: list[str], output: Path) -> dict[str, Any]:
    """Train, and return the last line of the log that has a loss, with the seconds per step added."""
    fixed = ["--run.workers", "2", "--data.val", "null", "--device", "cpu", "-o", str(output)]
    command = [sys.executable, "-m", "megavid", "train", *arguments, *fixed]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    lines = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    last = [line for line in lines if "loss" in line][-1]
    batch = 4 if arguments[0] == "generated" else 1
    return dict(last) | {"seconds": batch / last["clips_per_second"]}


if __name__ == "__main__":
    main()
