"""Helpers for training runs that take seconds: a data set, a recipe, and the run's log."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import PIL.Image
import yaml

from megavid.cli import main
from megavid.core.config import with_overrides
from megavid.datasets.synthetic.camera import film
from megavid.datasets.synthetic.scene import CLASSES
from megavid.datasets.table.annotations import AnnotationBuilder
from megavid.training.logs.run_log import read_log
from tests.conftest import tiny_overrides

MACHINE_NUMBERS = {"clips_per_second", "data_wait", "memory_mb"}


def write_videos(folder: Path, *, videos: int = 3, frames: int = 8, seed: int = 0) -> Path:
    """Write generated videos of 96x64 pixels and return the path of their index.

    Every third frame is not listed for training, and the first frame of a video has no objects.
    """
    builder = AnnotationBuilder(CLASSES, root=folder)
    for video in range(videos):
        builder.video(f"clip_{video}")
        (folder / f"clip_{video}").mkdir(parents=True)
        for t, frame in enumerate(film(seed=seed, video=video, frames=frames, height=64, width=96)):
            file = f"clip_{video}/{t:06d}.png"
            PIL.Image.fromarray(frame.image).save(folder / file)
            builder.frame(t, file=file, width=96, height=64, listed=t % 3 != 2)
            for box, label, track in zip(frame.boxes.tolist(), frame.labels, frame.tracks, strict=True):
                if t > 0:
                    builder.box(*box, label=int(label), track=int(track))
    path = folder / "index.parquet"
    builder.build().save(path)
    return path


def recipe_values(data: Path, method: str = "mega", **changes: Any) -> dict[str, Any]:
    """Return the nested values of a recipe of six steps.

    Args:
        data: Index of the training and validation data.
        method: Method of the model.
        changes: Values to set, by dotted path with __ in place of each dot.
    """
    settings = {key: value for key, value in tiny_overrides(method).items() if key != "classes"}
    values: dict[str, Any] = {
        "model": f"{method}_r50",
        "settings": {
            **settings,
            "backbone.norm": "group",
            "head.batch_size_per_image": 16,
            "rpn.batch_size_per_image": 32,
        },
        "data": {"train": [{"path": str(data)}], "val": {"path": str(data)}},
        "optimizer": {"learning_rate": 0.01, "warmup": 4, "milestones": [5]},
        "run": {"steps": 6, "batch": 2, "workers": 0, "frozen_stages": 0},
        "log": {"every": 1, "save_every": 3},
    }
    return with_overrides(values, {path.replace("__", "."): value for path, value in changes.items()})


def write_recipe(path: Path, values: Mapping[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(dict(values)))
    return path


def train(path: Path, folder: Path, *more: str) -> int:
    return main(["train", str(path), "-o", str(folder), "--device", "cpu", *more])


def numbers(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of a run's log without the numbers that depend on the machine."""
    return [
        {k: v for k, v in line.items() if k not in MACHINE_NUMBERS} for line in read_log(folder / "log.jsonl")
    ]
