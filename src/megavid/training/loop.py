"""Training a detector: in one process or many, and on from where it was cut off."""

from __future__ import annotations

import json
import math
import resource
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import closing, nullcontext
from itertools import islice
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
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
from megavid.training.clip_losses import MeanLosses
from megavid.training.clip_reader import ClipReader, Share, TrainingClip, read_clips
from megavid.training.ema import make_ema
from megavid.training.failures import check_finite, device_watched, fail
from megavid.training.optimizer import make_optimizer
from megavid.training.recipe import Recipe
from megavid.training.resume import changed_keys, differing_keys
from megavid.training.run_folder import CHECKPOINTS
from megavid.training.run_log import TrainingLog
from megavid.training.schedule import learning_rate, set_learning_rate
from megavid.training.summary import BEST, MODEL, describe_evaluation
from megavid.training.training_data import TrainingData
from megavid.training.validation import evaluate_while_training

_BOOKKEEPING = {"steps", "seconds", "waited", "gradient_norm", "finite"}
"""Sums since the last line of the log that are no losses."""


class Training:
    """A run.

    Args:
        recipe: Its configuration.
        detector: On its device, with the weights that it starts from.
        data: What it is trained on.
        folder: Where everything is put.
        ranks: This process among all.
        checkpoint: What to go on from.
        licence: On the terms of the weights that it starts from.

    Raises:
        InputError: The batch cannot be shared out, the checkpoint does not fit, or the data sets have other
            classes.
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
        self._sums: dict[str, float] = {}
        self._optimizer = make_optimizer(detector, recipe.optimizer)
        self._scaler = torch.amp.GradScaler(detector.device.type, enabled=run.dtype == "float16")
        decay = recipe.optimizer.ema
        self._ema = None if decay is None else make_ema(detector, decay)
        if checkpoint is not None:
            self._restore(checkpoint)
        detector.use_activation_checkpointing(enabled=run.activation_checkpointing)
        if run.compile:
            detector.compile_for_training()
        self._model: nn.Module = MeanLosses(detector)
        if ranks.world_size > 1:
            places = [detector.device.index] if detector.device.type == "cuda" else None
            self._model = DistributedDataParallel(self._model, device_ids=places)
        self._share = Share(run.batch, ranks.rank, ranks.world_size, run.micro_batch)
        self._log = TrainingLog(folder, step=self.step) if ranks.first else None

    def run(self) -> bool:
        """Train to the end.

        Returns:
            Whether the end was reached; False if the user asked to stop. What was done is saved either way.

        Raises:
            InputError: A clip cannot be read, a loss is not finite, or something cannot be written.
        """
        run = self.recipe.run
        order = ClipOrder(
            self.data.train, self.detector.training_plan, seed=run.seed, flip=self.recipe.data.flip
        )
        clips = read_clips(
            ClipReader(order),
            self._share,
            steps=range(self.step, run.steps),
            workers=run.workers,
            pin_memory=self.detector.device.type == "cuda",
        )
        groups = math.ceil(run.batch // self._ranks.world_size / run.micro_batch)
        shown = progress("training", total=run.steps, done=self.step, unit="steps", shown=self._ranks.first)
        with stop_request() as stop, closing(clips), shown as meter:
            if self._evaluation_missing() and not self._evaluate(meter):
                return False
            while self.step < run.steps:
                began = time.perf_counter()
                batch = list(islice(clips, groups))
                waited = time.perf_counter() - began
                doing = f"step {self.step}: --resume goes on from the last checkpoint; "
                with translate_peer_errors(self._ranks, doing), device_watched(self.step):
                    stopped = self._train_step(batch, stop)
                self._note(began, waited, meter)
                due = self._evaluation_due()
                if due or stopped or self._save_due():
                    self._save()
                if stopped:
                    self._ranks.wait()  # lest the first one be ended with the others before it has saved
                    return False
                if due and not self._evaluate(meter):
                    return False
        self._finish()
        return True

    def _train_step(self, batch: Sequence[Sequence[TrainingClip]], stop: threading.Event) -> bool:
        """One step of the optimizer; whether a process was asked to stop."""
        recipe, detector = self.recipe, self.detector
        run = recipe.run
        rate = learning_rate(recipe.optimizer, self.step, steps=run.steps, batch=run.batch)
        set_learning_rate(self._optimizer, rate)
        self._optimizer.zero_grad(set_to_none=True)
        count = sum(len(group) for group in batch)
        means: dict[str, Tensor] = {}
        for number, group in enumerate(batch):
            alone = isinstance(self._model, DistributedDataParallel) and number < len(batch) - 1
            with self._model.no_sync() if alone else nullcontext():  # type: ignore[operator]
                with self._autocast():
                    losses = self._model([clip.ready(detector) for clip in group])
                share = len(group) / count
                self._scaler.scale(torch.stack(tuple(losses.values())).sum() * share).backward()
            values = {name: loss.detach().cpu().double() for name, loss in losses.items()}
            check_finite(values, group, step=self.step)
            means = {name: means.get(name, 0) + value * share for name, value in values.items()}
        sums = torch.stack([*means.values(), torch.tensor(float(stop.is_set()), dtype=torch.float64)])
        if self._ranks.world_size > 1:
            dist.all_reduce(sums)
        sums[:-1] /= self._ranks.world_size
        self._scaler.unscale_(self._optimizer)
        trained = [p for p in detector.parameters() if p.requires_grad]
        norm = nn.utils.clip_grad_norm_(trained, recipe.optimizer.clip_norm or math.inf)
        if not self._scaler.is_enabled() and not norm.isfinite():  # else the step is left out
            fail("the gradient is not finite", [clip for group in batch for clip in group], step=self.step)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        if self._ema is not None:
            self._ema.update_parameters(detector)
        self.step += 1
        for name, value in zip(means, sums.tolist()[:-1], strict=True):
            self._add(name, value)
        if norm.isfinite():
            self._add("gradient_norm", float(norm))
            self._add("finite", 1)
        return bool(sums[-1])

    def _autocast(self) -> torch.autocast:
        dtype = self.recipe.run.dtype
        return torch.autocast(
            self.detector.device.type, dtype=getattr(torch, dtype), enabled=dtype != "float32"
        )

    def _add(self, name: str, value: float) -> None:
        self._sums[name] = self._sums.get(name, 0.0) + value

    def _note(self, began: float, waited: float, meter: Meter) -> None:
        """Keep account of a step; write a line when one is due."""
        self._add("steps", 1)
        self._add("seconds", time.perf_counter() - began)
        self._add("waited", waited)
        due = self.step % self.recipe.log.every == 0 or self.step == self.recipe.run.steps
        note = None
        if due and self._log is not None:
            count, seconds, finite = (self._sums.get(key, 0.0) for key in ("steps", "seconds", "finite"))
            losses = {name: self._sums[name] / count for name in self._sums if name not in _BOOKKEEPING}
            line = {
                "loss": sum(losses.values()),
                **losses,
                "gradient_norm": self._sums["gradient_norm"] / finite if finite else None,
                "learning_rate": self._optimizer.param_groups[0]["lr"],
                "clips_per_second": count * self.recipe.run.batch / seconds,
                "data_wait": self._sums["waited"] / seconds,
                "memory_mb": _memory(self.detector.device),
            }
            self._log.write(self.step, line)
            note = f"loss {line['loss']:.3f}"
        if due:
            self._sums = {}
        meter.update(self.step, note=note)

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
        """Whether the run was broken off after a step and before the evaluation that was due then."""
        done = self._log is not None and self._log.has("AP50", self.step)
        return self.step > 0 and self._evaluation_due() and not self._ranks.agree(done)

    def _evaluate(self, meter: Meter) -> bool:
        """Score the detector, and keep it if it is the best so far; False if the user asked to stop."""
        if self._ranks.first and self.step == self.recipe.run.steps:
            self._write_model(self.folder / MODEL)  # whatever becomes of the evaluation
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
                self._save()  # which knows the best, now
            for name, picture in scores.pictures.items():
                self._log.add_picture(self.step, name, picture)
            self._log.write(self.step, scores.values)  # the last: it says that all is done
            say(describe_evaluation(ap50, step=self.step, best=self._best))
        return True

    @property
    def _evaluated_detector(self) -> VideoDetector:
        """The detector with the averaged weights where there is an average."""
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
            pending=self._sums,
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
        self.step, self._sums = checkpoint.step, dict(checkpoint.pending)
        if not any(path.split(".")[:2] == ["data", "val"] for path in changed_keys(checkpoint, self.recipe)):
            self._best = checkpoint.best  # else it was the best on other data

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


def _memory(device: torch.device) -> float:
    """The most that was in use so far, MB: of the device, or of this process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
