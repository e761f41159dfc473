"""`megavid init`: from annotated videos to a recipe that trains on them."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from megavid.cli.arguments import split_names
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
    """Make a project of annotated videos: look at them, split them and propose a recipe.

    PROJECT: the folder to make. Writes train.parquet and val.parquet (the annotations; images and videos stay
    where they are), pictures of the data (data.png, sheet.jpg), and recipe.yaml with the reasons for what was
    chosen, and says how to go on. Any value of the recipe can be set by its path; what there is to start from
    decides the most: --start.detector FILE or --start.backbone FILE
    """

    project: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="PROJECT")]
    """The folder to make."""
    data: Annotated[Path, tyro.conf.arg(metavar="PATH")]
    """Annotations, in any format that `megavid data index` reads."""
    val: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """Annotations to validate on; by default the data set's own part for it, or whole videos of it."""
    val_videos: Annotated[str | None, tyro.conf.arg(metavar="NAME,NAME")] = None
    """Videos of the data set to validate on, separated by commas."""
    split: Literal["auto", "videos", "time"] = "auto"
    """What to validate on, where it is not given: whole videos, or the end of each video after a gap of up to
    24 frames. auto is what the data set says itself, else whole videos, or the end of the only one."""
    val_share: float = 0.2
    """The part of the frames to validate on, where it is not given."""
    model: Annotated[str | None, tyro.conf.arg(metavar="NAME|YAML")] = None
    """A shipped configuration's name or a YAML file; by default MEGA, or that of --start.detector."""
    hours: float = 12
    """Longest time for the training: two steps are timed, and fewer proposed where all would take longer."""
    untimed: bool = False
    """Propose by the data alone and time no steps, such as for another machine."""
    seed: int = 0
    """Seed for the choice of videos."""
    device: str = "auto"
    """auto, cpu, cuda or mps: what the recipe is for."""
    threads: Annotated[ThreadOptions, tyro.conf.OmitArgPrefixes] = field(default_factory=ThreadOptions)
    options: Annotated[DataOptions, tyro.conf.OmitArgPrefixes] = field(default_factory=DataOptions)

    def run(self, overrides: Mapping[str, str]) -> int:
        """Run the command and return its exit code."""
        from megavid.core.config import parse_overrides
        from megavid.core.errors import InputError
        from megavid.training.hardware import find_hardware
        from megavid.training.init.project import check_is_new, create_project
        from megavid.training.init.proposal import check_start
        from megavid.training.init.train_val import Validation, check_split, describe_format, open_split

        if not 0 < self.hours <= 10_000:
            raise InputError(f"--hours: expected more than 0 and at most 10000, got {self.hours:g}")
        names = split_names("--val-videos", self.val_videos) or []
        wanted = Validation(
            path=self.val, videos=names, split=self.split, share=self.val_share, seed=self.seed
        )
        check_is_new(self.project)
        changes = parse_overrides(overrides)
        check_start(self.model, changes)
        hardware = find_hardware(self.device)
        source, problems = self.options.source(self.data), self.options.problems()
        split = open_split(source, wanted, problems=problems)
        report_problems(problems)
        say(f"{self.data}: {describe_format(source)}")
        _say_what_there_is(split)
        _say_what_is_odd(check_split(split), split)
        if not self.untimed:
            self.threads.choose(self.device)
        project = create_project(
            self.project,
            split,
            model=self.model,
            hardware=hardware,
            overrides=changes,
            head=self._head(split, hardware),
            hours=None if self.untimed else self.hours,
        )
        self._say_what_next(project, hardware)
        return 0

    def _head(self, split: Split, hardware: Hardware) -> list[str]:
        lines = [
            f"{self.project.name}: made by megavid init from {self.data}, for: {hardware}.",
            f"Classes, those of the data: {', '.join(split.train.classes)}",
            f"To train on: {_amount(split.train)}.",
            *([f"To validate on: {_amount(split.val)}, {split.how}."] if split.val is not None else []),
            "Paths are as seen from the folder that commands are run in. Any value can be set on the command",
            "line by its path, too, and so can the model's: --run.steps 1000, --method.window 6",
        ]
        return [printable(line, limit=1000) for line in lines]

    def _say_what_next(self, project: Project, hardware: Hardware) -> None:
        from megavid.training.init.project import RECIPE_FILE, SHEET

        recipe, folder = project.recipe, shlex.quote(str(self.project))
        config, run = f"{folder}/{RECIPE_FILE}", f"{folder}/run"
        many = f"torchrun --nproc-per-node {hardware.count} --no-python " if hardware.count > 1 else ""
        best = "best" if recipe.data.val is not None else "model"
        say(f"{self.project / RECIPE_FILE}: {recipe.model}, {project.length}")
        if recipe.start.detector is None and recipe.start.backbone is None:
            say(
                "  from random weights; it learns more, and faster, from --start.detector or --start.backbone"
            )
        for note in project.notes:
            say(f"  note: {note}")
        say(f"Look at it and at {self.project / SHEET}, and go on with:")
        say(f"  megavid train {config} --check -o {run}   # finds mistakes in a minute")
        say(f"  {many}megavid train {config} -o {run}")
        say(f"  megavid detect VIDEO --weights {run}/{best}.safetensors -o {folder}/out")


def _say_what_there_is(split: Split) -> None:
    say(f"  to train on:    {_amount(split.train)}")
    if split.val is None:
        say(f"  to validate on: {split.how}")
    else:
        say(f"  to validate on: {_amount(split.val)} ({split.how})")
        say(f"  validation videos: {listed(_videos(split.val))}")
    for name, (train, val) in split.boxes_by_class().items():
        say(f"  {printable(name)}: {train} boxes to train on, {val} to validate on")


def _say_what_is_odd(found: list[Problem], split: Split) -> None:
    for kind, count in Counter(problem.kind for problem in found).most_common():
        example = next(problem for problem in found if problem.kind == kind)
        say(f"  note: {count} x {kind} (such as {printable(str(example), limit=300)})")
    boxes = split.boxes_by_class()
    if split.val is not None:
        alone = [name for name, (train, val) in boxes.items() if train and not val]
        if alone:
            say(f"  note: nothing to validate on for {listed(alone)}: their AP will not be known")
    without = [name for name, (train, _) in boxes.items() if not train]
    if without:
        say(f"  note: nothing to train on for {listed(without)}: they will not be found")
    if len(_videos(split.train)) == len(split.train):
        say("  note: all videos are single images, so there are no other frames to look at")


def _videos(annotations: Annotations) -> list[str]:
    """Names of the videos that have frames."""
    return [annotations.videos[video] for video in dict.fromkeys(annotations.video.tolist())]


def _amount(annotations: Annotations) -> str:
    videos = len(_videos(annotations))
    some = f"{videos} video{'s' if videos > 1 else ''}"
    return f"{some}, {len(annotations)} frames, {len(annotations.boxes)} boxes"
