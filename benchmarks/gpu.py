"""Measure detectors on a GPU in less than five minutes: speed, training, memory, agreement, tests, a profile.

    python -m benchmarks.gpu [--json OUT.json] [--only ROW,...] [--quick] [--rows]

Networks are ResNet-101 with random weights, frames are 1280x720 (input 999x562), batches have eight frames.
With random weights, thousands of boxes would pass the score threshold, and suppressing them would take longer
than with trained weights. Therefore, class logits are scaled and the background's logit is set so that about
100 class scores of a frame exceed the configured threshold, and 8 exceed 0.5, above which boxes are drawn
(`gpu_networks.calibrate_scores`).

Rows run one after the other in a worker process, in the order of their importance. If a row fails, its error
is recorded and the next row follows; if it takes too long or ends the process, or if the device reports an
error, a new worker continues with the next row. The JSON file is written after every row, so a run that is
stopped keeps its rows. Prints a Markdown table at the end.

`--tiny --device cpu` tries the benchmark itself, with tiny networks; its numbers mean nothing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.commit import commit
from benchmarks.gpu_report import markdown
from megavid.datasets.synthetic.write_data_set import SyntheticSet, write_synthetic_set

ROWS: dict[str, float] = {
    "mega_float16": 45,
    "mega_float16_loose": 30,
    "profile_mega": 40,
    "video_mega_float16": 45,
    "streams_mega_float16": 45,
    "single_frame_float16": 30,
    "agreement": 60,
    "mega_float32": 40,
    "mega_float32_loose": 40,
    "rdn_float16": 40,
    "selsa_float16": 30,
    "fgfa_float16": 40,
    "dff_float16": 30,
    "training_micro_batch_4": 60,
    "training_micro_batch_1": 60,
    "benchmark_mega_float16": 40,
    "memory": 60,
    "contract_tests": 75,
    "parity": 90,
    "training_compiled": 120,
}
"""Time limit of each row in seconds, most important rows first."""

DATA = "data"
"""Name of the data set to train on, in the folder for temporary files."""

DEVICE_FAILED = 3
"""Exit code of a worker whose device can no longer be used, after it has reported a row's error."""

_WORKER_START = 15.0
"""Seconds that a worker needs at least."""

_LOGGED = 4000
"""Number of characters of the worker's log to keep for a row that ended the process."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "results" / "gpu.json")
    parser.add_argument("--only", default=",".join(ROWS), help="rows, separated by commas")
    parser.add_argument("--rows", action="store_true", help="list the rows and their time limits")
    parser.add_argument("--quick", action="store_true", help="time each network for one second, not three")
    parser.add_argument("--limit", type=float, default=290, help="seconds after which the run ends")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--commit", help="commit to record where there is no repository")
    parser.add_argument("--tiny", action="store_true", help="try the benchmark with tiny networks")
    options = parser.parse_args(arguments)
    if options.rows:
        print("\n".join(f"{name:26}{limit:6.0f} s" for name, limit in ROWS.items()))
        return
    names = options.only.split(",")
    if unknown := [name for name in names if name not in ROWS]:
        parser.error(f"--only: expected some of {', '.join(ROWS)}, got {unknown[0]!r}")
    options.json.parent.mkdir(parents=True, exist_ok=True)
    report: dict[str, Any] = {
        "commit": options.commit or commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "tiny": options.tiny,
        "scores": "random weights, scaled so that about 100 scores of a frame exceed 0.001 and 8 exceed 0.5",
        "rows": {},
    }
    with tempfile.TemporaryDirectory() as folder:
        if any(name.startswith("training") for name in names):
            write_data(Path(folder) / DATA, tiny=options.tiny)
        Run(options, report, Path(folder)).measure(names)
    print(markdown(report))


def write_data(folder: Path, *, tiny: bool) -> None:
    """Write a data set to train on. A worker would need longer: its processes would all import PyTorch."""
    if tiny:
        write_synthetic_set(folder, SyntheticSet(videos=2, frames=3, height=64, width=96), workers=1)
    else:
        write_synthetic_set(folder, SyntheticSet(videos=10, frames=6, height=720, width=1280))


class Run:
    """A run of the benchmark in this process, which starts the workers.

    Args:
        options: Options of the command.
        report: Report to fill.
        folder: Folder for temporary files, which all workers share.
    """

    def __init__(self, options: argparse.Namespace, report: dict[str, Any], folder: Path) -> None:
        self._options, self._report, self._folder = options, report, folder
        self._end = time.time() + options.limit

    def measure(self, names: Sequence[str]) -> None:
        """Measure rows, with as many workers as it takes."""
        rows = self._report["rows"]
        while left := [name for name in names if name not in rows]:
            failure = self._work(left) if time.time() < self._end - _WORKER_START else "no time left"
            unfinished = [name for name in left if name not in rows]
            if "machine" in self._report:
                unfinished = unfinished[:1]  # else no worker can start
            for name in unfinished if failure else []:
                self._add({"row": name, "error": f"not measured: {failure}"})

    def _work(self, names: Sequence[str]) -> str | None:
        """Have a worker measure rows until it ends; return why it ended in the middle of a row, if it did."""
        options = self._options
        command = [sys.executable, "-m", "benchmarks.gpu_worker", options.device, str(self._folder)]
        command += [f"{name}={ROWS[name]:g}" for name in names]
        command += ["--end", str(self._end), *["--tiny"] * options.tiny, *["--quick"] * options.quick]
        log = self._folder / "log.txt"
        with log.open("w") as errors:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith('{"machine"'):
                self._report |= json.loads(line)
            elif line.startswith('{"row"'):
                self._add(json.loads(line))
        if process.wait() in {0, DEVICE_FAILED}:
            return None
        return f"exit code {process.returncode}: {log.read_text(errors='replace')[-_LOGGED:]}"

    def _add(self, row: dict[str, Any]) -> None:
        """Add a row to the report, write the report and print the row."""
        name = row.pop("row")
        self._report["rows"][name] = row
        self._options.json.write_text(json.dumps(self._report, indent=1) + "\n")
        shown = {key: value for key, value in row.items() if isinstance(value, float | int | str)}
        print(f"{name}: {json.dumps(shown)[:1000]}", flush=True)


if __name__ == "__main__":
    main()
