"""Settings of the workers of an archive, which are sent to other processes and machines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from megavid.core.ranges import MOST_BATCH, MOST_STRIDE, check_range, check_share
from megavid.datasets.formats.limits import MOST_FRAMES
from megavid.models.acceleration.inference import FAST, Inference


@dataclass(frozen=True, kw_only=True)
class DetectorArguments:
    """Arguments of `load_detector`, with which every worker loads the same detector.

    Attributes:
        model: Name of a configuration or a detector of another library; None for that of the weights.
        weights: Path, name or address of the weights, the same on every machine; None for random weights.
        overrides: Configuration values to replace, by dotted path.
        inference: The dtype and speed-ups of inference.
        method_module: Module that defines a method of the user's; None for none.
        weights_sha256: SHA-256 that the weights must have on every machine; None to accept any.
    """

    model: str | None = None
    weights: str | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    inference: Inference = FAST
    method_module: str | None = None
    weights_sha256: str | None = None


@dataclass(frozen=True, kw_only=True)
class SegmentOptions:
    """Options for detecting in a segment; see `detect_segment`."""

    every: int = 1
    score_threshold: float | None = None
    batch_size: int = 1

    def __post_init__(self) -> None:
        check_range("every", self.every, least=1, most=MOST_STRIDE)
        check_range("batch_size", self.batch_size, least=1, most=MOST_BATCH)
        check_share("score_threshold", self.score_threshold)


@dataclass(frozen=True, kw_only=True)
class WorkerSpec:
    """Everything that a worker has to know; can be pickled.

    Attributes:
        detector: The detector.
        options: How to detect.
        output: Address of the archive's output folder.
        settings: Hash of the settings, from `ArchiveFolder.begin`.
        segment_frames: Largest number of key frames of a segment.
        cache: Folder on the worker's machine for remote videos and for parts that are being written.
        cache_bytes: Largest size of the remote videos in the cache of one worker.
        metadata: Metadata of the predictions, as JSON values.
        device: Device to compute on, such as "auto" or "cuda:1".
        threads: Number of threads that the network computes on; None for PyTorch's choice.
    """

    detector: DetectorArguments
    options: SegmentOptions
    output: str
    settings: str
    segment_frames: int
    cache: Path
    cache_bytes: int
    metadata: Mapping[str, Any] = field(default_factory=dict)
    device: str = "auto"
    threads: int | None = None

    def __post_init__(self) -> None:
        check_range("segment_frames", self.segment_frames, least=1, most=MOST_FRAMES)
