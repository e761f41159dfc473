"""Train all methods on the generated set and print the table of docs/results.md.

    python -m benchmarks.generated_set runs --jobs 2

For each seed, a single-frame detector is trained from scratch. Then a detector of each method, including
`single_frame`, is trained, starting from the first detector's weights. Each training run uses one thread. To
resume after an interruption, repeat the command. The table lists the mean and the spread of AP50 over the
seeds, for all objects and by speed of motion.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from megavid.models.method_registry import METHODS
from megavid.training.logs.curves import CURVES
from megavid.training.logs.run_log import read_log

MOTIONS = {"AP50": "AP50", "fast": "fast", "medium": "med", "slow": "slow"}

FINE_TUNING = ("--run.steps", "1500", "--optimizer.milestones", "[1200]", "--optimizer.learning_rate", "0.01")
"""Options of the training runs that start from the single-frame detector."""


@dataclass(frozen=True)
class Job:
    """A training run.

    Attributes:
        folder: Output folder.
        options: Command-line options for `megavid train`.
        after: Another run that must finish before this one starts.
    """

    folder: Path
    options: tuple[str, ...]
    after: Future[None] | None = None

    def run(self) -> None:
        """Train, unless an earlier call completed this run."""
        if self.after is not None:
            self.after.result()
        if (self.folder / CURVES).exists():  # a run writes this file last
            return
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "megavid", "train", "generated", "-o", str(self.folder), "--resume"]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        with Path(f"{self.folder}.txt").open("w") as output:
            subprocess.run(
                [*command, "--device", "cpu", *self.options],
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--videos", type=int, default=500)
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    data = options.folder / "data"
    if not (data / "contact_sheet.jpg").exists():
        command = [sys.executable, "-m", "megavid", "data", "synthesize", str(data)]
        subprocess.run([*command, "--videos", str(options.videos)], check=True)
    with ThreadPoolExecutor(options.jobs) as pool:
        bases, rest = [], []
        for seed in options.seeds:
            folder = options.folder / f"seed_{seed}"
            common = ("--data", str(data), "--run.seed", str(seed), "--run.workers", "0")
            base = Job(folder / "base", (*common, "--model", "single_frame_r50"))
            bases.append(pool.submit(base.run))
            start = ("--start.detector", str(folder / "base" / "model.safetensors"))
            rest += [
                Job(folder / method, (*common, *start, *FINE_TUNING, "--model", f"{method}_r50"), bases[-1])
                for method in options.methods
            ]
        for run in [pool.submit(job.run) for job in rest]:
            run.result()
    print(table(options.folder, options.methods, options.seeds))


def table(folder: Path, methods: Sequence[str], seeds: Sequence[int]) -> str:
    """Return a Markdown table of each method's mean and spread (maximum - minimum) over seeds, in percent."""
    lines = ["| method | " + " | ".join(MOTIONS.values()) + " |", "|---" * (len(MOTIONS) + 1) + "|"]
    for method in methods:
        scores = [last_scores(folder / f"seed_{seed}" / method) for seed in seeds]
        cells = []
        for motion in MOTIONS:
            values = 100 * np.array([score[motion] for score in scores])
            cells.append(f"{values.mean():.1f} ({np.ptp(values):.1f})")
        lines.append(f"| `{method}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def last_scores(folder: Path) -> dict[str, float]:
    """Return the scores of a run's last evaluation, including AP50 by speed of motion."""
    scored = [line for line in read_log(folder / "log.jsonl") if "AP50" in line]
    return scored[-1]


if __name__ == "__main__":
    main()
