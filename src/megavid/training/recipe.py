"""The recipe of a training run: the configuration of `megavid train`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from megavid.core.config import Config, has_path
from megavid.core.ranges import MOST_SEED, MOST_STEPS, MOST_TRAINING_BATCH, MOST_WORKERS
from megavid.training.optim.optimizer import OptimizerConfig

FilePath = Annotated[Path, Field(strict=False)]

WeightsName = Annotated[str, BeforeValidator(lambda value: str(value) if isinstance(value, Path) else value)]
"""Path, name or address of weights; a `Path` would lose a slash of an address."""

_MOST_MICRO_BATCH = 256
"""Largest number of clips in a micro-batch; their activations are all in memory at the same time."""

_MOST_CHECKPOINTS = 10**6


class DataSetConfig(Config):
    """An annotated data set; see `datasets.open.Source`.

    Attributes:
        path: An index made by `megavid data index`, or the annotations themselves.
        format: Format of the annotations; null to recognize the format.
        subset: Part of the data set, for formats that have several.
        classes: Names of the classes, for formats that identify classes only by number.
        images: Folder of the images, for formats that do not contain its path.
    """

    path: FilePath
    format: str | None = None
    subset: str | None = None
    classes: tuple[str, ...] | None = Field(default=None, strict=False)
    images: FilePath | None = None


class DataConfig(Config):
    """Training and validation data.

    Attributes:
        train: Data sets that all have the same classes, which become the detector's. The frames of all data
            sets are mixed evenly.
        val: Data set to evaluate on; null for no evaluation.
        flip: Probability that a clip is mirrored.
        skip_bad: Whether to leave out bad annotations instead of stopping.
    """

    train: tuple[DataSetConfig, ...] = Field(strict=False, min_length=1)
    val: DataSetConfig | None = None
    flip: float = Field(default=0.5, ge=0, le=1, strict=False)
    skip_bad: bool = False


class StartConfig(Config):
    """Weight files to start from, loaded in the order below; weights that no file contains are random.

    Each is a file, a name or an https:// or file:// address, which is downloaded once.

    Attributes:
        backbone: ImageNet weights of a ResNet, from torchvision (`.pth`) or from MSRA in Detectron's format
            (`.pkl`). For a timm backbone: a file of its weights, or "pretrained" to let timm download them.
            Or a name: "msra:resnet50", "torchvision:resnet50" or "timm:" and the name of a model.
        detector: A detector's weights: a `.safetensors` file, a checkpoint of the original release, or a name
            (`megavid weights` lists the names). That detector may have another method that shares parts with
            this one (RDN can start from RDN-base), and other classes.
        flow: Weights of FlowNet, for DFF and FGFA: a file, or the name "flownet".
    """

    backbone: WeightsName | None = None
    detector: WeightsName | None = None
    flow: WeightsName | None = None


class RunConfig(Config):
    """Length, batch size, precision and use of the machine.

    Attributes:
        steps: Number of steps of the optimizer.
        batch: Number of clips per step, over all processes; a multiple of the number of processes. A clip is
            a key frame with its reference frames.
        micro_batch: Number of clips that go through the network at once, in each process; gradients are
            accumulated over the clips of a step.
        seed: Seed for random weights, for the order of the clips and for sampling.
        frozen_stages: Number of backbone stages, from the first, that are not trained. As published, 2: conv1
            and conv2.
        dtype: Data type that the network computes in; boxes and losses are always float32.
        compile: Whether to compile the backbone with torch.compile; training starts later and runs faster.
        activation_checkpointing: Whether to compute the backbone's activations a second time in the backward
            pass, which saves memory.
        workers: Number of processes that read clips ahead, for each training process.
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
    """Settings for the log, the checkpoints and the evaluations.

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
        model: Name of a shipped configuration, or path of a YAML file.
        settings: Values to replace in the model's configuration, by dotted path.
        settings_if_any: Further values to replace; each applies only if the model's configuration has its
            key.
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
        """Return the values that the recipe replaces in its model's configuration, by dotted path.

        Args:
            config: The model's configuration, as nested values.
        """
        known = {path: value for path, value in self.settings_if_any.items() if has_path(config, path)}
        return known | self.settings
