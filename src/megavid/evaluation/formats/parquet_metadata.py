"""Metadata of a predictions file: its keys and their types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from megavid.core.config import Config, validate
from megavid.core.errors import InputError
from megavid.core.files.json_yaml import load_json
from megavid.evaluation.formats.video_info import VideoInfoEntry

_Count = Annotated[int, Field(ge=0)]

_LARGEST_STRIDE = 2**31 - 1
"""Largest distance of detected frames, as of `megavid detect --every`."""


class _DetectorConfig(Config):
    """The part of a detector's configuration that reports use; other sections are allowed."""

    model_config = ConfigDict(extra="allow")

    method: dict[str, Any] = Field(default_factory=dict)


class _Metadata(Config):
    """Keys that megavid reads. Other keys are allowed.

    Attributes:
        classes: Names of the classes, in the order of labels.
        videos: Number of frames of each video.
        frames: Number of frames of all videos.
        video_info: Frame sizes and detected frames of each video.
        left_out: Number of frames that could not be read.
        every: Distance from one detected frame to the next, in frames.
        complete: Whether the video was processed to its end.
        linking: Settings of the linker that was applied to the predictions.
        postprocessing: How the predictions were linked, in words; an earlier version wrote this.
        architecture: Name of the detector's architecture.
        weights: Name of the weights.
        weights_sha256: SHA-256 of the weights.
        config: Configuration of the detector.
    """

    model_config = ConfigDict(extra="allow")

    classes: list[str] | None = None
    videos: dict[str, _Count] = Field(default_factory=dict)
    frames: _Count = 0
    video_info: dict[str, VideoInfoEntry] = Field(default_factory=dict)
    left_out: _Count = 0
    every: int = Field(default=1, ge=1, le=_LARGEST_STRIDE)
    complete: bool = True
    linking: dict[str, Any] | None = None
    postprocessing: str | None = None
    architecture: str | None = None
    weights: str | None = None
    weights_sha256: str | None = None
    config: _DetectorConfig = _DetectorConfig()


def check_not_linked(metadata: Mapping[str, Any], *, origin: object) -> None:
    """Check that predictions were not linked: a linker needs the scores and boxes of the detector.

    Raises:
        InputError: They were linked.
    """
    for key in ("linking", "postprocessing"):
        if metadata.get(key) is not None:
            raise InputError(
                f"{origin}: expected predictions that are not linked, got {key}: {metadata[key]}"
            )


def parse_metadata(content: bytes, *, origin: object) -> dict[str, Any]:
    """Parse and check the metadata of a predictions file.

    Args:
        content: JSON text.
        origin: The file, for messages.

    Returns:
        All keys of the metadata, always including `classes`.

    Raises:
        InputError: The content is not a JSON object, `classes` is missing, or a value has a wrong type or is
            too large.
    """
    about = load_json(content, origin=f"{origin}, metadata")
    if not isinstance(about, dict):
        raise InputError(f"{origin}, metadata: expected an object in JSON, got {type(about).__name__}")
    known = validate(_Metadata, about, origin=f"{origin}, metadata")
    # Files of version 0.1 have the classes only in the configuration.
    classes = about.get("config", {}).get("classes") if known.classes is None else known.classes
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise InputError(f"{origin}: expected predictions that megavid wrote; 'classes' is missing")
    return {**about, "classes": classes}
