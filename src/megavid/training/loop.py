"""The training loop, in one process or several."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import closing, nullcontext
from itertools import islice
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from megavid.checkpoints.weights import load_state, write_weights
from megavid.core.config import rename_keys
from megavid.core.errors import InputError
from megavid.datasets.clip_order import ClipOrder
from megavid.jobs.check_classes import check_classes
from megavid.jobs.executors.ranks import Ranks, translate_peer_errors
from megavid.jobs.progress import Meter, progress, say
from megavid.jobs.stop_requests import stop_request
from megavid.jobs.threads.thread_count import recorded_threads
from megavid.models.base.video_detector import VideoDetector
from megavid.training.checkpoint import Checkpoint, restore_state, save_checkpoint
from megavid.training.clips.clip_losses import MeanLosses
from megavid.training.clips.clip_reader import ClipReader, Share, TrainingClip, read_clips
from megavid.training.clips.training_data import TrainingData
from megavid.training.failures import translate_device_errors
from megavid.training.logs.run_log import TrainingLog
from megavid.training.logs.step_sums import StepSums
from megavid.training.logs.summary import BEST, MODEL, describe_evaluation
from megavid.training.optim.ema import MovingAverage
from megavid.training.optim.optimizer import make_optimizer
from megavid.training.optim.schedule import learning_rate, set_learning_rate
from megavid.training.recipe import Recipe
from megavid.training.resume import changed_keys, differing_keys
from megavid.training.run_folder import CHECKPOINTS
from megavid.training.step_numbers import StepNumbers
from megavid.training.validation import evaluate_while_training


class Training:
    """A training run.

    Args:
        recipe: The recipe.
        detector: Detector to train, on its device, with the weights to start from.
        data: Training and validation data.
        folder: Folder of the run.
        ranks: Rank of this process among those of the run.
        checkpoint: Checkpoint to resume from; None for a new run.
        licence: Note on the license of the weights to start from.

    Attributes:
        step: Number of steps done.

    Raises:
        InputError: The batch cannot be divided among the processes, the checkpoint does not fit the detector,
            or the classes of the validation data do not fit (see `check_classes`).
    """

    def __init__(
        self,
        recipe: Recipe,
        detector: VideoDetector,
        data: TrainingData,
        folder: Path,
        *,
        ranks: Ranks,
        checkpoint: Checkpoint | None,
        licence: str,
    ) -> None:
        run = recipe.run
        if run.batch % ranks.world_size:
            raise InputError(
                f"run.batch: expected a multiple of the {ranks.world_size} processes, got {run.batch}"
            )
        if data.val is not None:
            check_classes(detector, data.val, data.problems)
        self.recipe, self.detector, self.data, self.folder = recipe, detector, data, folder
        self._ranks, self._licence = ranks, licence
        self.step = 0
        self._best = (-1.0, 0)
        self._sums = StepSums()
        self._unchecked: StepNumbers | None = None
        self._optimizer = make_optimizer(detector, recipe.optimizer, fused=detector.device.type == "cuda")
        self._scaler = torch.amp.GradScaler(detector.device.type, enabled=run.dtype == "float16")
        decay = recipe.optimizer.ema
        self._ema = None if decay is None else MovingAverage(detector, decay)
        if checkpoint is not None:
            self._restore(checkpoint)
        detector.use_activation_checkpointing(enabled=run.activation_checkpointing)
        if run.compile:
            detector.compile_for_training()
        self._model: nn.Module = MeanLosses(detector)
        if ranks.world_size > 1:
            device_ids = [detector.device.index] if detector.device.type == "cuda" else None
            self._model = DistributedDataParallel(self._model, device_ids=device_ids)
        self._share = Share(run.batch, ranks.rank, ranks.world_size, run.micro_batch)
        self._log = TrainingLog(folder, step=self.step) if ranks.first else None

    def run(self) -> bool:
        """Train to the end.

        Returns:
            Whether training reached the end; False if the user asked to stop. In both cases, a checkpoint is
            saved.

        Raises:
            InputError: A clip cannot be read, a loss or the gradient is not finite, or an output cannot be
                written.
        """
        run, clips = self.recipe.run, self._read_clips()
        groups = math.ceil(run.batch // self._ranks.world_size / run.micro_batch)
        shown = progress("training", total=run.steps, done=self.step, unit="steps", shown=self._ranks.first)
        with stop_request() as stop, closing(clips), shown as meter:
            if self._evaluation_missing() and not self._evaluate(meter):
                return False
            while self.step < run.steps:
                began = time.perf_counter()
                batch = list(islice(clips, groups))
                waited = time.perf_counter() - began
                doing = f"step {self.step}: --resume continues from the last checkpoint; "
                translated = translate_device_errors(self.step, micro_batch=run.micro_batch)
                with translate_peer_errors(self._ranks, doing), translated:
                    numbers = self._train_step(batch)
                    stopped = self._check_numbers(stop)  # of the step before, while the device computes
                    self._unchecked = numbers
                    due = self._evaluation_due()
                    if due or stopped or self._log_due() or self._save_due():
                        stopped = self._check_numbers(stop) or stopped
                self._record(began, waited, meter)
                if due or stopped or self._save_due():
                    self._save()
                if stopped:
                    self._ranks.wait()  # no process may end before the first one has saved
                    return False
                if due and not self._evaluate(meter):
                    return False
        self._finish()
        return True

    def _read_clips(self) -> Generator[list[TrainingClip]]:
        """Read the clips of the remaining steps, in micro-batches."""
        run = self.recipe.run
        order = ClipOrder(
            self.data.train, self.detector.training_plan, seed=run.seed, flip=self.recipe.data.flip
        )
        return read_clips(
            ClipReader(order),
            self._share,
            steps=range(self.step, run.steps),
            workers=run.workers,
            pin_memory=self.detector.device.type == "cuda",
        )

    def _train_step(self, batch: Sequence[Sequence[TrainingClip]]) -> StepNumbers:
        """Take one step of the optimizer, without waiting for a GPU."""
        recipe, detector = self.recipe, self.detector
        rate = learning_rate(recipe.optimizer, self.step, steps=recipe.run.steps, batch=recipe.run.batch)
        set_learning_rate(self._optimizer, rate)
        self._optimizer.zero_grad(set_to_none=True)
        count = sum(map(len, batch))
        losses = []
        for number, group in enumerate(batch):
            is_last = number == len(batch) - 1
            no_sync = not is_last and isinstance(self._model, DistributedDataParallel)
            with self._model.no_sync() if no_sync else nullcontext():  # type: ignore[operator]
                with self._autocast():
                    losses.append(self._model([clip.ready(detector) for clip in group]))
                total = torch.stack(tuple(losses[-1].values())).sum()
                self._scaler.scale(total * (len(group) / count)).backward()
        self._scaler.unscale_(self._optimizer)
        trained = [p for p in detector.parameters() if p.requires_grad]
        norm = nn.utils.get_total_norm([p.grad for p in trained if p.grad is not None])
        names = [[clip.name for clip in group] for group in batch]
        numbers = StepNumbers(losses, norm, step=self.step, clips=names)
        if detector.device.type != "cuda":  # nothing to wait for, so a bad gradient changes no weights
            numbers.wait(may_overflow=self._scaler.is_enabled())
        if recipe.optimizer.clip_norm is not None:
            nn.utils.clip_grads_with_norm_(trained, recipe.optimizer.clip_norm, norm)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        if self._ema is not None:
            self._ema.update_parameters(detector)
        self.step += 1
        return numbers

    def _check_numbers(self, stop: threading.Event) -> bool:
        """Check the losses and the gradient of the last step, if they are not checked yet, and sum them up.

        This comes one step late, so that the device always has work, but before anything is written.

        Returns:
            Whether any process was asked to stop.
        """
        numbers, self._unchecked = self._unchecked, None
        if numbers is None:
            return False
        means, norm = numbers.wait(may_overflow=self._scaler.is_enabled())
        sums = torch.tensor([*means.values(), float(stop.is_set())], dtype=torch.float64)
        if self._ranks.world_size > 1:
            dist.all_reduce(sums)
        sums[:-1] /= self._ranks.world_size
        *mean_losses, stopped = sums.tolist()
        self._sums.add_losses(dict(zip(means, mean_losses, strict=True)), gradient_norm=norm)
        return bool(stopped)

    def _autocast(self) -> torch.autocast:
        dtype = self.recipe.run.dtype
        return torch.autocast(
            self.detector.device.type, dtype=getattr(torch, dtype), enabled=dtype != "float32"
        )

    def _record(self, began: float, waited: float, meter: Meter) -> None:
        """Add the time of a step to the sums, and write a line of the log when one is due."""
        self._sums.add_time(seconds=time.perf_counter() - began, waited=waited)
        note = None
        if self._log_due():
            if self._log is not None:
                rate = self._optimizer.param_groups[0]["lr"]
                line = self._sums.log_line(
                    batch=self.recipe.run.batch, learning_rate=rate, device=self.detector.device
                )
                self._log.write(self.step, line)
                note = f"loss {line['loss']:.3f}"
            self._sums = StepSums()
        meter.update(self.step, note=note)

    def _log_due(self) -> bool:
        return self.step % self.recipe.log.every == 0 or self.step == self.recipe.run.steps

    def _save_due(self) -> bool:
        return self.step % self.recipe.log.save_every == 0 or self.step == self.recipe.run.steps

    def _evaluation_due(self) -> bool:
        every, last = self.recipe.log.evaluate_every, self.step == self.recipe.run.steps
        return self.data.val is not None and (last or (every is not None and self.step % every == 0))

    def _evaluations_left(self) -> int:
        every, last = self.recipe.log.evaluate_every, self.recipe.run.steps
        steps = range(0, last, every)[1:] if every is not None else range(0)
        return sum(step > self.step for step in (*steps, last))

    def _evaluation_missing(self) -> bool:
        """Return whether the run was interrupted before the evaluation that follows the current step."""
        done = self._log is not None and self._log.has("AP50", self.step)
        return self.step > 0 and self._evaluation_due() and not self._ranks.agree(done)

    def _evaluate(self, meter: Meter) -> bool:
        """Evaluate the detector, and write its weights if its AP50 is the best so far.

        Returns:
            Whether the evaluation was completed; False if the user asked to stop.
        """
        if self._ranks.first and self.step == self.recipe.run.steps:
            self._write_model(self.folder / MODEL)  # before the evaluation, which may fail
        self._ranks.wait()
        evaluated = self._evaluated_detector
        evaluated.eval()
        began = time.perf_counter()
        try:
            with meter.paused():
                scores = evaluate_while_training(
                    evaluated, self.data, self.folder, step=self.step, ranks=self._ranks
                )
        finally:
            evaluated.train()
        meter.later = (time.perf_counter() - began) * self._evaluations_left()
        if scores is None:
            return False
        if self._log is not None:
            ap50 = scores.values["AP50"]
            if ap50 is not None and ap50 > self._best[0]:
                self._best = (ap50, self.step)
                self._write_model(self.folder / BEST)
                self._save()  # save again, with the new best score
            for name, picture in scores.pictures.items():
                self._log.add_picture(self.step, name, picture)
            self._log.write(self.step, scores.values)  # last, since it marks the evaluation as complete
            say(describe_evaluation(ap50, step=self.step, best=self._best))
        return True

    @property
    def _evaluated_detector(self) -> VideoDetector:
        """The detector to evaluate and write; it has the averaged weights if the run averages them."""
        if self._ema is None:
            return self.detector
        assert isinstance(self._ema.module, VideoDetector)
        return self._ema.module

    def _save(self) -> None:
        if not self._ranks.first:
            return
        checkpoint = Checkpoint(
            step=self.step,
            recipe=self.recipe.model_dump(mode="json"),
            config=self.detector.config.model_dump(mode="json"),
            licence=self._licence,
            model=self.detector.state_dict(),
            ema=None if self._ema is None else self._ema.state_dict(),
            optimizer=self._optimizer.state_dict(),
            scaler=self._scaler.state_dict(),
            random=torch.get_rng_state(),
            best=self._best,
            pending=self._sums.sums,
            threads=recorded_threads(self.detector.device.type),
        )
        save_checkpoint(self.folder / CHECKPOINTS, checkpoint, keep=self.recipe.log.keep)

    def _restore(self, checkpoint: Checkpoint) -> None:
        config = self.detector.config.model_dump(mode="json")
        for path in differing_keys(rename_keys(type(self.detector.config), checkpoint.config), config):
            raise InputError(
                f"{self.folder}: the run in it was begun with another {path}; choose another folder"
            )
        origin = f"{self.folder}: its checkpoint of step {checkpoint.step}"
        load_state(self.detector, checkpoint.model, origin=origin)
        restore_state(checkpoint, self._optimizer, self._scaler, origin=origin)
        if self._ema is not None and checkpoint.ema is not None:
            load_state(self._ema, checkpoint.ema, origin=origin, target="the average of the weights")
        self._licence = checkpoint.licence
        self.step, self._sums = checkpoint.step, StepSums(checkpoint.pending)
        if not any(path.split(".")[:2] == ["data", "val"] for path in changed_keys(checkpoint, self.recipe)):
            self._best = checkpoint.best  # scores on other validation data are not comparable

    def _write_model(self, path: Path) -> None:
        trained = json.dumps({"step": self.step, **self.recipe.model_dump(mode="json")})
        about = {"licence": self._licence, "trained": trained}
        config = self.detector.config.model_dump(mode="json")
        write_weights(path, self._evaluated_detector.state_dict(), config=config, about=about)

    def _finish(self) -> None:
        if self._log is not None:
            if self.data.val is None:
                self._write_model(self.folder / MODEL)
            self._log.close()
        self._ranks.wait()
