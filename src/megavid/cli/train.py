"""`megavid train`: train a detector from a recipe."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from megavid.cli.method import OutsideMethods
from megavid.cli.options import FLAT, optional
from megavid.cli.output import say
from megavid.cli.source import report_problems
from megavid.cli.threads import ThreadOptions

if TYPE_CHECKING:
    import torch

    from megavid.checkpoints.starting_weights import Loaded
    from megavid.jobs.executors.ranks import Ranks
    from megavid.training.checkpoint import Checkpoint
    from megavid.training.clips.training_data import TrainingData
    from megavid.training.loop import Training
    from megavid.training.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a detector from a recipe.

    Writes model.safetensors, best.safetensors, log.jsonl, curves.png, checkpoints and evaluations to the
    output folder. Ctrl-C and SIGTERM save a checkpoint and stop the run; --resume then continues the run as
    if nothing had stopped it. On several GPUs: torchrun --nproc-per-node 4 --no-python megavid train ...
    Any value of the recipe can be set by its path (--run.steps 1000), and so can any value of the model's
    configuration (--method.window 6).
    """

    config: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="CONFIG")]
    """Name of a shipped recipe or a YAML file."""
    output: Annotated[Path | None, optional("PATH", "none; required without --check", aliases=("-o",))] = None
    """Output folder."""
    model: Annotated[str | None, optional("NAME|YAML", "that of the recipe")] = None
    """Model to train: name of a shipped configuration, changed by the settings in the recipe, or a YAML file,
    which is taken as it is."""
    data: Annotated[Path | None, optional("PATH", "those of the recipe")] = None
    """Folder or file that holds all data sets to train and validate on."""
    resume: bool = False
    """Resume the run in the output folder, if there is one."""
    check: bool = False
    """Run two steps and one evaluation of a few frames to find mistakes, and keep nothing."""
    device: str = "auto"
    """Device to compute on: auto, cpu, cuda or mps."""
    threads: Annotated[ThreadOptions, FLAT] = field(default_factory=ThreadOptions)
    methods: Annotated[OutsideMethods, FLAT] = field(default_factory=OutsideMethods)

    def run(self, overrides: Mapping[str, str]) -> int:
        """Run the command and return its exit code."""
        from megavid.core.config import parse_overrides
        from megavid.core.errors import InputError
        from megavid.jobs.executors.torchrun import joined_ranks
        from megavid.training.read_recipe import read_recipe, shorten_for_check

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
            folder = self._temporary_folder(recipe, ranks, stack)
            return self._train(shorten_for_check(recipe), folder, ranks)

    def _temporary_folder(self, recipe: Recipe, ranks: Ranks, stack: ExitStack) -> Path:
        """Make a temporary folder for --check: in the output folder, if given, to find out if it is writable.

        Args:
            recipe: Recipe, which has to fit the checkpoint in the output folder, if there is one.
            ranks: Place of this process among all processes; the first one makes the folder.
            stack: Exit stack that removes the folder when it closes.
        """
        from megavid.core.errors import InputError
        from megavid.jobs.executors.ranks import Ranks
        from megavid.jobs.executors.torchrun import read_launch_variable
        from megavid.training.resume import load_checkpoint_to_resume
        from megavid.training.run_folder import check_run_folder

        if self.output is None and ranks.world_size > read_launch_variable(
            "LOCAL_WORLD_SIZE", default=1, least=1
        ):
            raise InputError("--output: required with --check on several hosts, on a disk that all can see")
        place = ""
        if ranks.first:
            if self.output is not None:
                check_run_folder(self.output, resume=self.resume)
                load_checkpoint_to_resume(self.output, recipe, Ranks())
            place = stack.enter_context(tempfile.TemporaryDirectory(prefix=".check-", dir=self.output))
        return Path(ranks.agree(place))

    def _train(self, recipe: Recipe, folder: Path, ranks: Ranks) -> int:
        from megavid.training.run_folder import hold_run_folder, prepare_run_folder, remove_launch_marker

        device = self._find_device(ranks)
        self.threads.check()
        with hold_run_folder(folder, ranks):
            prepare_run_folder(folder, ranks, resume=self.resume)
            training = self._prepare(recipe, folder, ranks, device)
            complete = training.run()
            if ranks.first:
                remove_launch_marker(folder)
        if not ranks.first:
            return 0 if complete else 130
        if not complete:
            say(f"megavid: stopped at step {training.step}; --resume continues from there")
            return 130
        self._print_results(folder, recipe)
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
        """Read the newest checkpoint and the data, set up the training and print what it starts from."""
        from megavid.training.clips.training_data import open_training_data
        from megavid.training.loop import Training
        from megavid.training.resume import load_checkpoint_to_resume
        from megavid.training.run_folder import write_recipe
        from megavid.training.setup import make_detector

        checkpoint = load_checkpoint_to_resume(folder, recipe, ranks)
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
            self._print_start(recipe, data, loaded, checkpoint)
        return training

    def _print_start(
        self, recipe: Recipe, data: TrainingData, loaded: list[Loaded], checkpoint: Checkpoint | None
    ) -> None:
        from megavid.datasets.clip_order import has_objects
        from megavid.training.resume import changed_keys

        frames = sum(int((part.listed & has_objects(part)).sum()) for part in data.train)
        say(f"megavid: {recipe.model}, {len(data.train[0].classes)} classes, {frames} frames to train on")
        for part in loaded:
            say(f"megavid: starts from {part}")
        if checkpoint is not None:
            say(f"megavid: resumes from step {checkpoint.step}")
            for path in changed_keys(checkpoint, recipe):
                say(f"megavid: {path} differs from the interrupted run")

    def _print_results(self, folder: Path, recipe: Recipe) -> None:
        from megavid.training.logs.summary import summarize

        if self.check:
            say(
                "megavid: check passed: two steps and an evaluation of a few frames ran to the end; "
                "their loss and AP50 mean nothing yet"
            )
            return
        for path in sorted(folder.glob("[!.]*")):
            say(f"  {path}")
        for line in summarize(folder, recipe, method_module=self.methods.method_module):
            say(f"megavid: {line}" if not line.startswith(" ") else line)
