"""The recipe of a training run: the configuration of `megavid train`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from megavid.core.config import Config, has_path
from megavid.core.ranges import MOST_SEED, MOST_STEPS, MOST_TRAINING_BATCH, MOST_WORKERS
from megavid.training.optim.optimizer import OptimizerConfig

FilePath = Annotated[Path, Field(strict=False)]

_MOST_MICRO_BATCH = 256
"""Clips that go through the network at once: the activations of all of them are in memory together."""

_MOST_CHECKPOINTS = 10**6


class DataSetConfig(Config):
    """An annotated data set; see `datasets.open.Source`.

    Attributes:
        path: An index made by `megavid data index`, or the annotations themselves.
        format: Format of the annotations; null to recognize it.
        subset: Part of the data set, for formats that have several.
        classes: Names of the classes, for formats that have numbers only.
        images: Folder of the images, for formats that do not name it.
    """

    path: FilePath
    format: str | None = None
    subset: str | None = None
    classes: tuple[str, ...] | None = Field(default=None, strict=False)
    images: FilePath | None = None


class DataConfig(Config):
    """Training and validation data.

    Attributes:
        train: Data sets of the same classes, which become the detector's; their frames are mixed evenly.
        val: Data set to evaluate on; null for no evaluation.
        flip: Probability that a clip is mirrored.
        skip_bad: Whether to leave out bad annotations instead of stopping.
    """

    train: tuple[DataSetConfig, ...] = Field(strict=False, min_length=1)
    val: DataSetConfig | None = None
    flip: float = Field(default=0.5, ge=0, le=1, strict=False)
    skip_bad: bool = False


class StartConfig(Config):
    """Weights to start from, loaded in this order; weights that no file has are random.

    Attributes:
        backbone: ImageNet weights of a ResNet, from torchvision (`.pth`) or from MSRA in Detectron's format
            (`.pkl`). For a timm backbone: a file of its weights, or "pretrained" to let timm download them.
        detector: Weights of a detector, of this method or one that shares parts with it (RDN from RDN-base),
            with the same classes or others: `.safetensors` or a checkpoint of the original release.
        flow: Weights of FlowNet, for DFF and FGFA.
    """

    backbone: FilePath | None = None
    detector: FilePath | None = None
    flow: FilePath | None = None


class RunConfig(Config):
    """Length, batch size, precision and use of the machine.

    Attributes:
        steps: Steps of the optimizer.
        batch: Clips per step over all processes, each with its reference frames; a multiple of the processes.
        micro_batch: Clips of a process that go through the network at once; gradients are accumulated over
            the clips of a step.
        seed: Seed of random weights, of the order of clips and of sampling.
        frozen_stages: Number of first backbone stages without training; 2, conv1 and conv2, as published.
        dtype: Data type that the network computes in; boxes and losses are always float32.
        compile: Whether to compile the backbone with torch.compile: it starts slowly and runs faster.
        activation_checkpointing: Whether to compute the backbone's activations a second time in the backward
            pass, which saves memory.
        workers: Processes that read clips ahead, for each training process.
    """

    renamed_keys: ClassVar = {"clips_at_once": "micro_batch", "recompute": "activation_checkpointing"}

    steps: int = Field(ge=1, le=MOST_STEPS)
    batch: int = Field(ge=1, le=MOST_TRAINING_BATCH)
    micro_batch: int = Field(default=1, ge=1, le=_MOST_MICRO_BATCH)
    seed: int = Field(default=0, ge=0, le=MOST_SEED)
    frozen_stages: int = Field(default=2, ge=0, le=4)
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    compile: bool = False
    activation_checkpointing: bool = False
    workers: int = Field(default=2, ge=0, le=MOST_WORKERS)


class LogConfig(Config):
    """Log, checkpoints and evaluations.

    Attributes:
        every: Steps from one line of the log to the next.
        save_every: Steps from one checkpoint to the next.
        keep: Number of newest checkpoints to keep.
        evaluate_every: Steps from one evaluation to the next; null for one evaluation at the end.
        motion: Source of the objects' motion; see `jobs.find_motion`.
    """

    every: int = Field(default=20, ge=1, le=MOST_STEPS)
    save_every: int = Field(default=1000, ge=1, le=MOST_STEPS)
    keep: int = Field(default=2, ge=1, le=_MOST_CHECKPOINTS)
    evaluate_every: int | None = Field(default=None, ge=1, le=MOST_STEPS)
    motion: str = "auto"


class Recipe(Config):
    """Everything that defines a training run.

    Attributes:
        model: A shipped configuration's name or a YAML file.
        settings: Values of the model's configuration by dotted path.
        settings_if_any: Further values that apply only where the model's configuration has the key.
        data: Data sets.
        start: Weights to start from.
        optimizer: Optimizer, learning rate and averaging of weights.
        run: Steps, batch, precision.
        log: Logs, checkpoints, evaluations.
    """

    renamed_keys: ClassVar = {"optimiser": "optimizer"}

    model: str
    settings: dict[str, Any] = Field(default_factory=dict)
    settings_if_any: dict[str, Any] = Field(default_factory=dict)
    data: DataConfig
    start: StartConfig = StartConfig()
    optimizer: OptimizerConfig
    run: RunConfig
    log: LogConfig = LogConfig()

    @model_validator(mode="after")
    def _check_milestones(self) -> Self:
        late = [step for step in self.optimizer.milestones if step >= self.run.steps]
        if late or list(self.optimizer.milestones) != sorted(self.optimizer.milestones):
            raise ValueError(
                f"optimizer.milestones should rise and be less than run.steps {self.run.steps}, "
                f"got {list(self.optimizer.milestones)}"
            )
        return self

    def model_settings(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values to replace in a model's configuration, by dotted path.

        Args:
            config: The model's configuration, as nested values.
        """
        known = {path: value for path, value in self.settings_if_any.items() if has_path(config, path)}
        return known | self.settings
