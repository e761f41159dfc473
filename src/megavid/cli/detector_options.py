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

    weights: Path
    """Weights: a .safetensors file of megavid, a checkpoint of the original release, an https:// or file://
    address, or a name that `megavid weights` lists, such as mega_r101_vid or mega_generated."""
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

        self.methods.add()
        ranks = ranks or Ranks()
        device = ranks.device(self.device)
        self.threads.choose(device, ranks=ranks, before=threads_before)
        return load_detector(
            self.model,
            weights=self.weights,
            device=device,
            overrides=parse_overrides(overrides),
            inference=self.inference.settings(),
        )

    def translate_errors(self) -> AbstractContextManager[None]:
        """Return a context that turns errors of the device into one-line errors that name these options."""
        return self.inference.translate_errors(batch_size=self.batch_size)
