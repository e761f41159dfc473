"""How a detector is trained: the configuration of `megavid train`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from megavid.core.config import Config, has_path
from megavid.core.ranges import MOST_SEED, MOST_STEPS, MOST_TRAINING_BATCH, MOST_WORKERS
from megavid.training.optimizer import OptimizerConfig

FilePath = Annotated[Path, Field(strict=False)]

_MOST_AT_ONCE = 256
"""Clips that go through the network at once: all their frames and activations are in memory together."""

_MOST_CHECKPOINTS = 10**6


class DataSetConfig(Config):
    """An annotated data set; see `datasets.open.Source`.

    Attributes:
        path: An index that `megavid data index` made, or the annotations themselves.
        format, subset, classes, images: Where the format leaves that open.
    """

    path: FilePath
    format: str | None = None
    subset: str | None = None
    classes: tuple[str, ...] | None = Field(default=None, strict=False)
    images: FilePath | None = None


class DataConfig(Config):
    """What is trained on and evaluated on.

    Attributes:
        train: Data sets of the same classes, which become the detector's; their frames are mixed evenly.
        val: What is evaluated on; null for no evaluation.
        flip: How likely a clip is mirrored.
        skip_bad: Leave out what is wrong with the annotations instead of stopping.
    """

    train: tuple[DataSetConfig, ...] = Field(strict=False, min_length=1)
    val: DataSetConfig | None = None
    flip: float = Field(default=0.5, ge=0, le=1, strict=False)
    skip_bad: bool = False


class StartConfig(Config):
    """Weights to start from; what none of them gives is random. The later ones win.

    Attributes:
        backbone: ResNet weights from ImageNet: torchvision's (`.pth`) or MSRA's in Detectron's form (`.pkl`).
            For a model of timm's: a file of its weights, or "pretrained" to have timm download them.
        detector: A whole detector, of this method or another that shares parts with it (RDN from RDN-base),
            with these classes or others: megavid's `.safetensors` or a checkpoint of the original release.
        flow: FlowNet's weights, for DFF and FGFA.
    """

    backbone: FilePath | None = None
    detector: FilePath | None = None
    flow: FilePath | None = None


class RunConfig(Config):
    """How long, how much at a time, and in which precision.

    Attributes:
        steps: Steps of the optimizer.
        batch: Clips a step over all processes, each with its references; a multiple of the processes.
        micro_batch: Of them, clips that go through the network at once, their frames through the trunk as
            one batch; the gradients of one such group after the other are added up.
        seed: Of new weights, the order of clips and all else that is random.
        frozen_stages: First stages of the backbone that stay as they are: 2, conv1 and conv2, as published.
        dtype: What the network computes in; boxes and losses are in float32.
        compile: Compile the trunk, conv1 to conv4 (torch.compile): slow to start, faster then.
        activation_checkpointing: Whether to compute the backbone's activations a second time in the backward
            pass, which saves memory.
        workers: Processes that read ahead, for each process that trains.
    """

    renamed_keys: ClassVar = {"clips_at_once": "micro_batch", "recompute": "activation_checkpointing"}

    steps: int = Field(ge=1, le=MOST_STEPS)
    batch: int = Field(ge=1, le=MOST_TRAINING_BATCH)
    micro_batch: int = Field(default=1, ge=1, le=_MOST_AT_ONCE)
    seed: int = Field(default=0, ge=0, le=MOST_SEED)
    frozen_stages: int = Field(default=2, ge=0, le=4)
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    compile: bool = False
    activation_checkpointing: bool = False
    workers: int = Field(default=2, ge=0, le=MOST_WORKERS)


class LogConfig(Config):
    """What is written while training.

    Attributes:
        every: Steps from one line of the log to the next.
        save_every: Steps from one checkpoint to the next.
        keep: How many checkpoints stay.
        evaluate_every: Steps from one evaluation to the next; null for one at the end.
        motion: See `jobs.find_motion`.
    """

    every: int = Field(default=20, ge=1, le=MOST_STEPS)
    save_every: int = Field(default=1000, ge=1, le=MOST_STEPS)
    keep: int = Field(default=2, ge=1, le=_MOST_CHECKPOINTS)
    evaluate_every: int | None = Field(default=None, ge=1, le=MOST_STEPS)
    motion: str = "auto"


class Recipe(Config):
    """All of a training run.

    Attributes:
        model: A shipped configuration's name or a YAML file.
        settings: Values of the model's configuration by dotted path.
        settings_if_any: The same, but of settings that only some methods have, for those that have them.
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
    def _milestones_are_inside(self) -> Self:
        late = [step for step in self.optimizer.milestones if step >= self.run.steps]
        if late or list(self.optimizer.milestones) != sorted(self.optimizer.milestones):
            raise ValueError(
                f"optimizer.milestones should rise and be less than run.steps {self.run.steps}, "
                f"got {list(self.optimizer.milestones)}"
            )
        return self

    def model_settings(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Other values for a model's configuration, by dotted path.

        Args:
            config: The model's, as its YAML file has it.
        """
        known = {path: value for path, value in self.settings_if_any.items() if has_path(config, path)}
        return known | self.settings
