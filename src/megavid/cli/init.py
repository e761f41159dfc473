"""`megavid init`: make a training project from annotated videos."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from megavid.cli.arguments import split_names
from megavid.cli.options import FLAT, optional
from megavid.cli.output import say
from megavid.cli.source import DataOptions, report_problems
from megavid.cli.threads import ThreadOptions
from megavid.core.text import listed, printable

if TYPE_CHECKING:
    from megavid.datasets.table.annotations import Annotations
    from megavid.datasets.table.problems import Problem
    from megavid.training.hardware import Hardware
    from megavid.training.init.project import Project
    from megavid.training.init.train_val import Split


@dataclass(frozen=True, kw_only=True)
class Init:
    """Make a training project from annotated videos: examine them, split them and propose a recipe.

    Writes to the folder PROJECT: train.parquet and val.parquet (the annotations; images and videos stay where
    they are), pictures of the data (data.png, sheet.jpg), and recipe.yaml, in which comments give the reason
    for each choice. Then prints the commands to continue with. Any value of the recipe can be set by its
    path. The weights to start from matter most: --start.detector FILE or --start.backbone FILE
    """

    project: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="PROJECT")]
    """Folder to make."""
    data: Annotated[Path, tyro.conf.arg(metavar="PATH")]
    """Annotations, in any format that `megavid data index` reads."""
    val: Annotated[Path | None, optional("PATH", "a part of the data set")] = None
    """Annotations to validate on."""
    val_videos: Annotated[str | None, optional("NAME,NAME")] = None
    """Videos of the data set to validate on, separated by commas."""
    split: Literal["auto", "videos", "time"] = "auto"
    """How to split without --val and --val-videos: videos holds out whole videos, time the end of each video,
    after a gap of up to 24 frames. auto uses the data set's own split if it has one, else whole videos, or
    the end if there is a single video."""
    val_share: float = 0.2
    """Share of the frames to validate on when the command makes the split."""
    model: Annotated[str | None, optional("NAME|YAML", "that of --start.detector, else MEGA")] = None
    """Name of a shipped configuration or a YAML file."""
    hours: float = 12
    """Longest training time, in hours. Two steps are timed, and fewer steps are proposed if training would
    take longer."""
    untimed: bool = False
    """Do not time any steps; propose from the data alone, for example for another machine."""
    seed: int = 0
    """Random seed for the choice of validation videos."""
    device: str = "auto"
    """Device that the recipe is for: auto, cpu, cuda or mps."""
    threads: Annotated[ThreadOptions, FLAT] = field(default_factory=ThreadOptions)
    options: Annotated[DataOptions, FLAT] = field(default_factory=DataOptions)

    def run(self, overrides: Mapping[str, str]) -> int:
        """Run the command and return its exit code."""
        from megavid.core.config import parse_overrides
        from megavid.core.errors import InputError
        from megavid.training.hardware import find_hardware
        from megavid.training.init.project import check_project_folder, create_project
        from megavid.training.init.start import check_start
        from megavid.training.init.train_val import (
            ValidationOptions,
            check_split,
            describe_format,
            open_split,
        )

        if not 0 < self.hours <= 10_000:
            raise InputError(f"--hours: expected more than 0 and at most 10000, got {self.hours:g}")
        names = split_names("--val-videos", self.val_videos) or []
        wanted = ValidationOptions(
            path=self.val, videos=names, split=self.split, share=self.val_share, seed=self.seed
        )
        check_project_folder(self.project)
        changes = parse_overrides(overrides)
        check_start(self.model, changes)
        hardware = find_hardware(self.device)
        source, problems = self.options.source(self.data), self.options.problems()
        split = open_split(source, wanted, problems=problems)
        report_problems(problems)
        say(f"{self.data}: {describe_format(source)}")
        _print_split(split)
        _print_problems(check_split(split), split)
        if not self.untimed:
            self.threads.choose(self.device)
        project = create_project(
            self.project,
            split,
            model=self.model,
            hardware=hardware,
            overrides=changes,
            head=self._header(split, hardware),
            hours=None if self.untimed else self.hours,
        )
        self._print_next_steps(project, hardware)
        return 0

    def _header(self, split: Split, hardware: Hardware) -> list[str]:
        """Return the lines of the comment at the top of the recipe."""
        lines = [
            f"{self.project.name}: made by megavid init from {self.data}, for: {hardware}.",
            f"Classes of the data: {', '.join(split.train.classes)}",
            f"Training data: {_amount(split.train)}.",
            *([f"Validation data: {_amount(split.val)}, {split.how}."] if split.val is not None else []),
            "Paths are relative to the folder in which commands are run. Any value here or in the model's",
            "configuration can be set on the command line by its path: --run.steps 1000, --method.window 6",
        ]
        return [printable(line, limit=1000) for line in lines]

    def _print_next_steps(self, project: Project, hardware: Hardware) -> None:
        from megavid.training.init.project import RECIPE_FILE, SHEET

        recipe, folder = project.recipe, shlex.quote(str(self.project))
        config, run = f"{folder}/{RECIPE_FILE}", f"{folder}/run"
        many = f"torchrun --nproc-per-node {hardware.count} --no-python " if hardware.count > 1 else ""
        best = "best" if recipe.data.val is not None else "model"
        say(f"{self.project / RECIPE_FILE}: {recipe.model}, {project.length}")
        if recipe.start.detector is None and recipe.start.backbone is None:
            say("  starts from random weights; --start.detector or --start.backbone gives better results")
        for note in project.notes:
            say(f"  note: {note}")
        say(f"Check the recipe and {self.project / SHEET}, then run:")
        say(f"  megavid train {config} --check -o {run}   # finds mistakes in a minute")
        say(f"  {many}megavid train {config} -o {run}")
        say(f"  megavid detect VIDEO --weights {run}/{best}.safetensors -o {folder}/out")


def _print_split(split: Split) -> None:
    say(f"  training data:   {_amount(split.train)}")
    if split.val is None:
        say(f"  validation data: {split.how}")
    else:
        say(f"  validation data: {_amount(split.val)} ({split.how})")
        say(f"  validation videos: {listed(_videos(split.val))}")
    for name, (train, val) in split.boxes_by_class().items():
        say(f"  {printable(name)}: {train} boxes to train on, {val} to validate on")


def _print_problems(found: list[Problem], split: Split) -> None:
    for kind, count in Counter(problem.kind for problem in found).most_common():
        example = next(problem for problem in found if problem.kind == kind)
        say(f"  note: {count} x {kind} (such as {printable(str(example), limit=300)})")
    boxes = split.boxes_by_class()
    if split.val is not None:
        alone = [name for name, (train, val) in boxes.items() if train and not val]
        if alone:
            say(f"  note: no validation boxes of {listed(alone)}: their AP will be unknown")
    without = [name for name, (train, _) in boxes.items() if not train]
    if without:
        say(f"  note: no training boxes of {listed(without)}: they will not be detected")
    if len(_videos(split.train)) == len(split.train):
        say("  note: all videos are single images, so no detector can use other frames")


def _videos(annotations: Annotations) -> list[str]:
    """Return the names of the videos that have frames."""
    return [annotations.videos[video] for video in dict.fromkeys(annotations.video.tolist())]


def _amount(annotations: Annotations) -> str:
    count = len(_videos(annotations))
    videos = f"{count} video{'s' if count > 1 else ''}"
    return f"{videos}, {len(annotations)} frames, {len(annotations.boxes)} boxes"
