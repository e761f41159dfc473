"""Options for a detector and how it computes, shared by the commands that detect."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from megavid.cli.inference import InferenceOptions
from megavid.cli.method import OutsideMethods
from megavid.cli.options import FLAT, optional
from megavid.cli.threads import ThreadOptions

if TYPE_CHECKING:
    from megavid.jobs.executors.ranks import Ranks
    from megavid.models.base.video_detector import VideoDetector


@dataclass(frozen=True, kw_only=True)
class DetectorOptions:
    """A detector with its weights, and how it computes."""

    weights: Annotated[Path | None, optional("PATH", "those of --detector")] = None
    """Weights: a .safetensors file of megavid, a checkpoint of the original release, an https:// or file://
    address, or a name that `megavid weights` lists, such as mega_r101_vid or mega_generated. With --detector,
    a file for it."""
    detector: Annotated[str | None, optional("LIBRARY:NAME")] = None
    """A detector of another library, such as torchvision:fasterrcnn_resnet50_fpn_v2 or
    transformers:PekingU/rtdetr_v2_r18vd. Unless --weights gives a file, the library downloads published
    weights at first use. Or boxes:FILE for boxes that any tool saved for the video: megavid's .parquet, MOT's
    det.txt or COCO's .json."""
    model: Annotated[str | None, optional("NAME|YAML", "that of the weights")] = None
    """Name of a shipped configuration or a YAML file."""
    device: str = "auto"
    """Device to compute on: auto, cpu, cuda or mps."""
    inference: Annotated[InferenceOptions, FLAT] = field(default_factory=InferenceOptions)
    batch_size: int = 1
    """Number of frames that go through the network together."""
    threads: Annotated[ThreadOptions, FLAT] = field(default_factory=ThreadOptions)
    methods: Annotated[OutsideMethods, FLAT] = field(default_factory=OutsideMethods)

    def load(
        self, overrides: Mapping[str, str], *, ranks: Ranks | None = None, threads_before: int | None = None
    ) -> VideoDetector:
        """Set the number of threads and load the detector.

        Args:
            overrides: Values of the model's configuration by dotted path.
            ranks: Place of this process among all processes; None for a single process.
            threads_before: Number of threads that a resumed run used before; None if unknown or not resumed.

        Raises:
            InputError: An option or a file is wrong, or the options and files contradict each other.
        """
        from megavid.checkpoints.load import load_detector
        from megavid.core.config import parse_overrides
        from megavid.jobs.executors.ranks import Ranks

        model = self.choose()
        ranks = ranks or Ranks()
        device = ranks.device(self.device)
        self.threads.choose(device, ranks=ranks, before=threads_before)
        return load_detector(
            model,
            weights=self.weights,
            device=device,
            overrides=parse_overrides(overrides),
            inference=self.inference.settings(),
        )

    def choose(self) -> str | None:
        """Return what to load besides the weights, and register methods from outside the package.

        Raises:
            InputError: The options contradict each other, or a module cannot be imported.
        """
        from megavid.core.errors import InputError

        model = choose_model(self.model, detector=self.detector)
        if self.detector is None and self.weights is None:
            raise InputError("expected --weights, or --detector for a detector of another library")
        self.methods.add()
        return model

    def about_weights(self, detector: VideoDetector) -> dict[str, str]:
        """Return metadata for predictions: name and SHA-256 of the weights of the loaded detector."""
        from megavid.checkpoints.other_libraries import describe_outside_weights
        from megavid.checkpoints.weights import describe_weights

        if self.weights is None:
            return describe_outside_weights(detector)
        return describe_weights(self.weights)

    def translate_errors(self) -> AbstractContextManager[None]:
        """Return a context that turns errors of the device into one-line errors that name these options."""
        return self.inference.translate_errors(batch_size=self.batch_size, detector=self.detector)


def choose_model(model: str | None, *, detector: str | None) -> str | None:
    """Return what to load: the detector of another library if there is one, else the configuration.

    Args:
        model: Name of a configuration or path of a YAML file.
        detector: Name of a detector of another library.

    Raises:
        InputError: Both are given, or one of them is what the other is for.
    """
    from megavid.checkpoints.other_libraries import LIBRARIES, is_outside_name
    from megavid.checkpoints.published import published_weights
    from megavid.core.errors import InputError

    for option, name, expected in (
        ("--detector", detector, "a detector of another library"),
        ("--model", model, "a configuration"),
    ):
        entry = published_weights().get(name or "")
        if entry is not None and entry.kind == "detector":
            raise InputError(f"{option}: expected {expected}, got weights: --weights {name}")
    if detector is None:
        if is_outside_name(model):
            raise InputError(
                f"{model}: expected a configuration; a detector of another library is --detector"
            )
        return model
    if model is not None:
        raise InputError("--detector: cannot be combined with a configuration, which is for megavid's own")
    if not is_outside_name(detector):
        raise InputError(
            f"--detector: expected LIBRARY:NAME with a library of {', '.join(LIBRARIES)}, or boxes:FILE, "
            f"got {detector}; megavid's own detectors are loaded by --weights"
        )
    return detector
