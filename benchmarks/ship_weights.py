"""Copy weights that were trained on the generated set into the package, with a model card for each file.

    python -m benchmarks.ship_weights runs --seed 0 --commit 6505eba --machine "2 cores of ..."

`runs` is the output folder of `benchmarks.generated_set`.
"""

from __future__ import annotations

import argparse
import json
from datetime import datetime
from pathlib import Path

from benchmarks.generated_set import FINE_TUNING, MOTIONS, last_scores
from megavid.checkpoints.weights import Weights, read_weights, write_weights
from megavid.jobs.run_demo import TRAINED_ON, WEIGHTS
from megavid.training.logs.run_log import LOG, read_log
from megavid.training.logs.summary import MODEL

PACKAGE = Path(__file__).parents[1] / "src" / "megavid" / "weights"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commit", required=True, help="commit at which they were trained")
    parser.add_argument("--machine", required=True, help="machine on which they were trained")
    options = parser.parse_args()
    runs = options.folder / f"seed_{options.seed}"
    command = f"python -m benchmarks.generated_set runs --seeds {options.seed} --methods {' '.join(WEIGHTS)}"
    for method, name in WEIGHTS.items():
        weights = read_weights(runs / method / MODEL)
        assert isinstance(weights, Weights)
        assert weights.config is not None
        trained = {"command": command, "commit": options.commit, "seed": options.seed}
        about = {"licence": "Apache-2.0", "card": f"{name}.md", "trained": json.dumps(trained)}
        write_weights(PACKAGE / f"{name}.safetensors", weights.state, config=weights.config, about=about)
        card = _card(runs, method, weights, command=command, commit=options.commit, machine=options.machine)
        (PACKAGE / f"{name}.md").write_text(card)


def _card(runs: Path, method: str, weights: Weights, *, command: str, commit: str, machine: str) -> str:
    hours = {run: seconds(runs / run) / 3600 for run in ("base", method)}
    parameters = sum(tensor.numel() for tensor in weights.state.values()) / 1e6
    scores = last_scores(runs / method)
    assert weights.config is not None
    day = datetime.fromtimestamp((runs / method / MODEL).stat().st_mtime).date()
    train, val = (
        len(list((runs.parent / "data" / "Data" / "VID" / part).iterdir())) for part in ("train", "val")
    )
    config, kinds = weights.config, (scores[key] for key in MOTIONS)
    size = f"{parameters:.1f} million parameters"
    backbone = f"ResNet-{config['backbone']['depth']} of width {config['backbone']['width']} with group norm"
    ap = ", ".join(f"{name} {100 * value:.1f}" for name, value in zip(MOTIONS.values(), kinds, strict=True))
    return f"""# {WEIGHTS[method]}

A small `{method}` detector ({size}: {backbone})
for the videos that `megavid data synthesize` generates. It serves the demo, the tests and the tutorials, and
is of no use on real videos.

- **Classes**: {", ".join(config["classes"])}.
- **Input**: frames scaled to a short side of {config["input"]["min_size"]} pixels, their size in the set.
- **AP50** on the {val} validation videos of the set, in percent: {ap}.
  This is one of three seeds; [docs/results.md](../../../docs/results.md) has all.
- **Training** from random weights on {train} videos (`megavid data synthesize data --videos {train + val}`,
  seed {TRAINED_ON}): a single-frame detector by the recipe `generated`, then this one from it with
  `{" ".join(FINE_TUNING)}`.
- **Command**: `{command}`,
  at commit {commit}, finished {day}.
- **Time**: {hours["base"]:.2f} hours and {hours[method]:.2f} hours, on one thread each of {machine}.
- **License**: Apache-2.0, like the package; trained on generated videos only.
"""


def seconds(run: Path) -> float:
    """Return the total time of a run's training steps in seconds, computed from the run's log."""
    lines = [line for line in read_log(run / LOG) if "loss" in line]
    batch = json.loads((run / "recipe.json").read_text())["run"]["batch"]
    steps = [line["step"] for line in lines]
    spans: list[int] = [b - a for a, b in zip([0, *steps[:-1]], steps, strict=True)]
    total: float = sum(
        span * batch / line["clips_per_second"] for span, line in zip(spans, lines, strict=True)
    )
    return total


if __name__ == "__main__":
    main()
