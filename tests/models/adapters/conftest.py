"""Fixtures: detectors of other libraries with random weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from megavid import FrameDetector, load_detector
from megavid.models.adapters.frame_adapter import FrameAdapter
from tests.models.adapters.outside_models import (
    FASTER_RCNN,
    SSDLITE,
    TRANSFORMERS,
    find_bright,
    write_boxes,
    write_torchvision,
    write_transformers,
)

KINDS = ["function", "boxes", SSDLITE, FASTER_RCNN, "rt_detr_v2", "detr"]
"""Names of detectors that `outside` builds."""


@pytest.fixture(scope="session")
def outside_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save small models, and return their folder."""
    folder = tmp_path_factory.mktemp("outside_models")
    for name in (SSDLITE, FASTER_RCNN):
        write_torchvision(folder / f"{name}.pth", name)
    for kind in TRANSFORMERS:
        write_transformers(folder / kind, kind)
    write_boxes(folder / "det.txt", frames=5)
    return folder


@pytest.fixture(scope="module", params=KINDS)
def outside(request: pytest.FixtureRequest, outside_files: Path, device: torch.device) -> FrameAdapter:
    """Load a detector of another library; all have some detections above the default threshold."""
    kind = request.param
    if kind == "function":
        return FrameDetector(find_bright, class_names=["left", "right"])
    if kind == "boxes":
        names = {"method.class_names": ["left", "right"]}
        detector = load_detector(f"boxes:{outside_files / 'det.txt'}", device=device, overrides=names)
    elif kind in TRANSFORMERS:
        detector = load_detector(f"transformers:{outside_files / kind}", device=device)
    else:
        detector = load_detector(f"torchvision:{kind}", weights=outside_files / f"{kind}.pth", device=device)
    assert isinstance(detector, FrameAdapter)
    return detector
