"""`megavid init`: from annotated videos to a recipe that trains on them."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from megavid.cli.source import DataOptions, report_problems

if TYPE_CHECKING:
    from megavid.core.annotations import Annotations
    from megavid.core.problems import Problem
    from megavid.data.open import Source
    from megavid.engine.hardware import Hardware
    from megavid.engine.project import Split
    from megavid.engine.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Init:
    """Make a project of annotated videos: look at them, split them and propose a recipe.

    PROJECT: the folder to make. Writes train.parquet and val.parquet (the annotations; images and videos stay
    where they are), data.png, and recipe.yaml with the reasons for what was chosen, and says how to go on.
    Any value of the recipe can be set by its path; what there is to start from decides the most:
    --start.detector FILE or --start.backbone FILE
    """

    project: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="PROJECT")]
    """The folder to make."""
    data: Annotated[Path, tyro.conf.arg(metavar="PATH")]
    """Annotations, in any format that `megavid data index` reads."""
    val: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """Annotations to validate on; by default the data set's own part for it, or whole videos of it."""
    val_share: float = 0.2
    """The part of the frames to validate on, where the data set has no part for it."""
    model: Annotated[str | None, tyro.conf.arg(metavar="NAME|YAML")] = None
    """A shipped configuration's name or a YAML file; by default MEGA, or that of --start.detector."""
    seed: int = 0
    """Of the choice of videos."""
    device: str = "auto"
    """auto, cpu, cuda or mps: what the recipe is for."""
    options: Annotated[DataOptions, tyro.conf.OmitArgPrefixes] = field(default_factory=DataOptions)

    def run(self, overrides: Mapping[str, str]) -> int:
        """Do it; the exit code."""
        from megavid.core.config import parse_overrides
        from megavid.core.errors import InputError
        from megavid.engine.hardware import find_hardware
        from megavid.engine.project import check_is_new, check_split, create_project, open_split

        if not 0 < self.val_share < 1:
            raise InputError(f"--val-share: expected a number between 0 and 1, got {self.val_share:g}")
        check_is_new(self.project)
        hardware = find_hardware(self.device)
        source, problems = self.options.source(self.data), self.options.problems()
        split = open_split(source, self.val, share=self.val_share, seed=self.seed, problems=problems)
        report_problems(problems)
        self._say_what_there_is(source, split)
        found = check_split(split)
        _say_what_is_odd(found, split)
        recipe = create_project(
            self.project,
            split,
            model=self.model,
            hardware=hardware,
            overrides=parse_overrides(overrides),
            head=self._head(split, hardware),
        )
        self._say_what_next(recipe, hardware)
        return 0

    def _say_what_there_is(self, source: Source, split: Split) -> None:
        from megavid.engine.project import boxes_by_class, describe_format

        how = f"its own parts {' and '.join(split.known)}" if split.known else "by whole videos"
        how = "as given" if self.val is not None else how
        print(f"{self.data}: {describe_format(source)}")
        print(f"  to train on:    {_amount(split.train)}")
        if split.val is None:
            print("  to validate on: nothing, for there is but one video")
        else:
            print(f"  to validate on: {_amount(split.val)} ({how})")
        for name, (train, val) in boxes_by_class(split).items():
            print(f"  {name}: {train} boxes to train on, {val} to validate on")

    def _head(self, split: Split, hardware: Hardware) -> list[str]:
        return [
            f"{self.project.name}: made by megavid init from {self.data}, for: {hardware}.",
            f"Classes, those of the data: {', '.join(split.train.classes)}",
            f"To train on: {_amount(split.train)}. "
            + (f"To validate on: {_amount(split.val)}." if split.val is not None else ""),
            "Paths are as seen from the folder that commands are run in. Any value can be set on the command",
            "line by its path, too, and so can the model's: --run.steps 1000, --method.window 6",
        ]

    def _say_what_next(self, recipe: Recipe, hardware: Hardware) -> None:
        from megavid.engine.project import RECIPE_FILE

        project = shlex.quote(str(self.project))
        config, run = f"{project}/{RECIPE_FILE}", f"{project}/run"
        many = f"torchrun --nproc-per-node {hardware.count} --no-python " if hardware.count > 1 else ""
        best = "best" if recipe.data.val is not None else "model"
        length = f"{recipe.run.steps} steps of {recipe.run.batch} clips"
        print(f"{self.project / RECIPE_FILE}: {recipe.model}, {length}")
        if recipe.start.detector is None and recipe.start.backbone is None:
            print(
                "  from random weights; it learns more, and faster, from --start.detector or --start.backbone"
            )
        print("Look at it, and go on with:")
        print(f"  megavid train {config} --check -o {run}   # finds mistakes in a minute")
        print(f"  {many}megavid train {config} -o {run}")
        print(f"  megavid detect VIDEO --weights {run}/{best}.safetensors -o {project}/out")


def _amount(annotations: Annotations) -> str:
    videos = len(set(annotations.video.tolist()))
    some = f"{videos} video{'s' if videos > 1 else ''}"
    return f"{some}, {len(annotations)} frames, {len(annotations.boxes)} boxes"


def _say_what_is_odd(found: list[Problem], split: Split) -> None:
    for kind, count in Counter(problem.kind for problem in found).most_common():
        example = next(problem for problem in found if problem.kind == kind)
        print(f"  note: {count} x {kind} (such as {example})")
    if len(set(split.train.video.tolist())) == len(split.train):
        print("  note: all videos are single images, so there are no other frames to look at")
