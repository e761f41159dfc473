"""Small models of other libraries with random weights, and functions that detect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from torchvision.models import get_model

from megavid import Detections
from megavid.core.frames import Image

SSDLITE = "ssdlite320_mobilenet_v3_large"
FASTER_RCNN = "fasterrcnn_mobilenet_v3_large_320_fpn"


def torchvision_model(name: str = SSDLITE, *, labels: int = 4) -> Any:
    """Return a model of torchvision with random weights that give boxes and classes different scores."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = get_model(name, weights=None, weights_backbone=None, num_classes=labels)
        for key, module in model.named_modules():
            # With torchvision's own initialization, all boxes of an image have the same score.
            if isinstance(module, nn.Conv2d) and ("backbone" in key or "classification" in key):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            elif key.endswith("cls_score"):
                nn.init.normal_(module.weight, std=0.01)
    return model.eval()


def write_torchvision(path: Path, name: str = SSDLITE, *, labels: int = 4) -> Path:
    """Save the state dict of a small model of torchvision, as torchvision's users do."""
    torch.save(torchvision_model(name, labels=labels).state_dict(), path)
    return path


def find_bright(frames: list[Image]) -> list[Detections]:
    """Detect the left and the right half of each frame, scored by their mean brightness; no other library."""
    found = []
    for frame in frames:
        height, width = frame.shape[:2]
        left, right = frame[:, : width // 2].mean() / 255, frame[:, width // 2 :].mean() / 255
        boxes = torch.tensor([[0.0, 0, width // 2, height], [width // 2, 0, width, height]])
        found.append(Detections(boxes, torch.tensor([left, right]), torch.tensor([0, 1])))
    return found
