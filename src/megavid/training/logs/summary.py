"""Describe evaluations and the result of a training run."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from megavid.training.logs.run_log import LOG, read_log
from megavid.training.recipe import DataSetConfig, Recipe

MODEL, BEST = "model.safetensors", "best.safetensors"

_LONG_PAST = 0.75
"""If no more than this share of the steps was done at the best evaluation, the summary gives advice."""


def describe_evaluation(ap50: float | None, *, step: int, best: tuple[float, int]) -> str:
    """Describe an evaluation in one line.

    Args:
        ap50: AP50 in 0 .. 1; None if nothing is annotated.
        step: Number of steps done.
        best: AP50 and step of the best evaluation so far, this one included.
    """
    if ap50 is None:
        return f"step {step}: no AP50: nothing is annotated in the validation data"
    if best[1] == step:
        return f"step {step}: AP50 {100 * ap50:.1f}, the best so far"
    return f"step {step}: AP50 {100 * ap50:.1f} (best: {100 * best[0]:.1f} at step {best[1]})"


def summarize(folder: Path, recipe: Recipe, *, method_module: str | None = None) -> list[str]:
    """Describe the scores of a complete run, and list commands that use its weights.

    Args:
        folder: Folder of the run.
        recipe: Recipe of the run.
        method_module: The user's module that defines the method; None for a method of this package.

    Returns:
        Lines of text.

    Raises:
        InputError: The log of the run cannot be read.
    """
    lines = [line for line in read_log(folder / LOG) if line.get("AP50") is not None]
    scores = [(float(line["AP50"]), int(line["step"])) for line in lines]
    weights = folder / (BEST if (folder / BEST).exists() else MODEL)
    text = _describe_scores(scores, recipe.run.steps)
    text.append("next commands:")
    options = f"--weights {_quoted(weights)}"
    if method_module is not None:
        options += f" --method-module {_quoted(method_module)}"
    if recipe.data.val is not None:
        data = _data_options(recipe.data.val)
        text.append(f"  megavid evaluate {data} {options} -o {_quoted(folder / 'eval')}")
    text.append(f"  megavid detect VIDEO {options} -o {_quoted(folder / 'out')}")
    return text


def _describe_scores(scores: Sequence[tuple[float, int]], steps: int) -> list[str]:
    if not scores:
        return []
    best, at = max(scores, key=lambda score: (score[0], -score[1]))
    last, end = scores[-1]
    text = [f"AP50 {100 * last:.1f} at step {end}; best {100 * best:.1f} at step {at}, in {BEST}"]
    if best > 0 and at <= _LONG_PAST * steps:
        text.append(
            f"AP50 peaked early: it has not risen since step {at} of {steps}. More data would help, or "
            f"fewer steps (--run.steps {at}), or a lower optimizer.learning_rate"
        )
    return text


def _data_options(data: DataSetConfig) -> str:
    options = {
        "data": data.path,
        "format": data.format,
        "subset": data.subset,
        "classes": ",".join(data.classes) if data.classes else None,
        "images": data.images,
    }
    return " ".join(f"--{name} {_quoted(value)}" for name, value in options.items() if value is not None)


def _quoted(value: object) -> str:
    return shlex.quote(str(value))
