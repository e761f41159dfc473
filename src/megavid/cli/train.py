"""`megavid train`: train a detector by a recipe."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from megavid.cli.method import OutsideMethods
from megavid.cli.output import say
from megavid.cli.source import report_problems
from megavid.cli.threads import ThreadOptions

if TYPE_CHECKING:
    import torch

    from megavid.checkpoints.starting_weights import Loaded
    from megavid.jobs.executors.ranks import Ranks
    from megavid.training.checkpoint import Checkpoint
    from megavid.training.loop import Training
    from megavid.training.recipe import Recipe
    from megavid.training.training_data import TrainingData


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a detector.

    CONFIG: a recipe's name or a YAML file. Any of its values can be set by its path, such as
    --run.steps 1000, and any of its model's: --method.window 6

    Writes model.safetensors, best.safetensors, log.jsonl, curves.png, checkpoints and evaluations to the
    output folder. Ctrl-C and SIGTERM save first; --resume goes on as if nothing had happened. For several
    processes or GPUs: torchrun --nproc-per-node 4 --no-python megavid train ...
    """

    config: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="CONFIG")]
    """The recipe."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Output folder; not needed with --check."""
    model: Annotated[str | None, tyro.conf.arg(metavar="NAME|YAML")] = None
    """Another model than the recipe's: a shipped configuration's name or a YAML file."""
    data: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """Other data sets than the recipe's: the folder or file that all of them are in."""
    resume: bool = False
    """Go on with the run in the output folder, if there is one."""
    check: bool = False
    """Run two steps and one evaluation of a few frames, to find mistakes; nothing is kept."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    threads: Annotated[ThreadOptions, tyro.conf.OmitArgPrefixes] = field(default_factory=ThreadOptions)
    methods: Annotated[OutsideMethods, tyro.conf.OmitArgPrefixes] = field(default_factory=OutsideMethods)

    def run(self, overrides: Mapping[str, str]) -> int:
        """Do it; the exit code."""
        from megavid.core.config import parse_overrides
        from megavid.core.errors import InputError
        from megavid.jobs.executors.torchrun import joined_ranks
        from megavid.training.setup import for_check, read_recipe

        self.methods.add()
        recipe = read_recipe(
            self.config, model=self.model, data=self.data, overrides=parse_overrides(overrides)
        )
        if self.output is None and not self.check:
            raise InputError("--output: expected a folder to write to")
        with joined_ranks() as ranks, ExitStack() as stack:
            if not self.check:
                assert self.output is not None
                return self._train(recipe, self.output, ranks)
            folder = self._folder_to_check_in(recipe, ranks, stack)
            return self._train(for_check(recipe), folder, ranks)

    def _folder_to_check_in(self, recipe: Recipe, ranks: Ranks, stack: ExitStack) -> Path:
        """One that is removed in the end: in the output folder, to see whether that can be used."""
        from megavid.core.errors import InputError
        from megavid.jobs.executors.ranks import Ranks
        from megavid.jobs.executors.torchrun import read_launch_variable
        from megavid.training.setup import check_folder, newest_checkpoint

        if self.output is None and ranks.world_size > read_launch_variable(
            "LOCAL_WORLD_SIZE", default=1, least=1
        ):
            raise InputError("--output: expected with --check on several hosts, on a disk that all see")
        place = ""
        if ranks.first:
            if self.output is not None:
                check_folder(self.output, resume=self.resume)
                newest_checkpoint(self.output, recipe, Ranks())
            place = stack.enter_context(tempfile.TemporaryDirectory(prefix=".check-", dir=self.output))
        return Path(ranks.agree(place))

    def _train(self, recipe: Recipe, folder: Path, ranks: Ranks) -> int:
        from megavid.training.setup import forget_launch, held_folder, prepare_run

        device = self._find_device(ranks)
        self.threads.check()
        with held_folder(folder, ranks):
            prepare_run(folder, ranks, resume=self.resume)
            training = self._prepare(recipe, folder, ranks, device)
            complete = training.run()
            if ranks.first:
                forget_launch(folder)
        if not ranks.first:
            return 0 if complete else 130
        if not complete:
            say(f"megavid: stopped at step {training.step}; --resume goes on from there")
            return 130
        self._say_what_came_out(folder, recipe)
        return 0

    def _find_device(self, ranks: Ranks) -> torch.device:
        import torch

        from megavid.checkpoints.load import find_device
        from megavid.core.errors import InputError
        from megavid.jobs.executors.torchrun import read_launch_variable

        device = find_device(ranks.device(self.device))
        here = read_launch_variable("LOCAL_WORLD_SIZE", default=1, least=1)
        if device.type == "cuda" and here > torch.cuda.device_count():
            raise InputError(f"expected a GPU for each process, got {torch.cuda.device_count()} for {here}")
        return device

    def _prepare(self, recipe: Recipe, folder: Path, ranks: Ranks, device: torch.device) -> Training:
        """Read the newest checkpoint and the data, and say what begins."""
        from megavid.training.loop import Training
        from megavid.training.setup import make_detector, newest_checkpoint, write_recipe
        from megavid.training.training_data import open_training_data

        checkpoint = newest_checkpoint(folder, recipe, ranks)
        before = None if checkpoint is None else checkpoint.threads
        self.threads.choose(str(device), ranks=ranks, before=before)
        data = open_training_data(recipe, few=self.check)
        detector, loaded = make_detector(recipe, data.train[0].classes, begins=checkpoint is None)
        licences = {part.licence for part in loaded if part.licence}
        training = Training(
            recipe,
            detector.to(device),
            data,
            folder,
            ranks=ranks,
            checkpoint=checkpoint,
            licence=" ".join(sorted(licences)),
        )
        if ranks.first:
            write_recipe(folder, recipe)
            report_problems(data.problems)
            self._say_what_begins(recipe, data, loaded, checkpoint)
        return training

    def _say_what_begins(
        self, recipe: Recipe, data: TrainingData, loaded: list[Loaded], checkpoint: Checkpoint | None
    ) -> None:
        from megavid.datasets.clip_order import has_objects
        from megavid.training.setup import changes

        frames = sum(int((part.listed & has_objects(part)).sum()) for part in data.train)
        say(f"megavid: {recipe.model}, {len(data.train[0].classes)} classes, {frames} frames to train on")
        for part in loaded:
            say(f"megavid: starts from {part}")
        if checkpoint is not None:
            say(f"megavid: goes on from step {checkpoint.step}")
            for path in changes(checkpoint, recipe):
                say(f"megavid: with another {path} than before")

    def _say_what_came_out(self, folder: Path, recipe: Recipe) -> None:
        from megavid.training.summary import summarize

        if self.check:
            say(
                "megavid: all is well: two steps and an evaluation of a few frames ran to their end; "
                "AP50 and loss say nothing yet"
            )
            return
        for path in sorted(folder.glob("[!.]*")):
            say(f"  {path}")
        for line in summarize(folder, recipe):
            say(f"megavid: {line}" if not line.startswith(" ") else line)
