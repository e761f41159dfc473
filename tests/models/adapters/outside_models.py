"""Small models of other libraries with random weights, and functions that detect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import nn
from torchvision.models import get_model

from megavid import Detections
from megavid.core.frames import Image

library: Any = transformers  # not all of its functions have types

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
        boxes = np.array([[0, 0, width // 2, height], [width // 2, 0, width, height]], np.float32)
        scores = torch.from_numpy(np.array([left, right], np.float32))
        found.append(Detections(torch.from_numpy(boxes), scores, torch.from_numpy(np.arange(2))))
    return found


def write_boxes(path: Path, *, frames: int) -> Path:
    """Write MOT's `det.txt` with two boxes in each frame, of other places and scores than in other frames."""
    lines = (
        f"{frame},-1,{10 * label + frame},5,20.5,30,{0.3 * label + 0.05 * frame:g},{label}\n"
        for frame in range(1, frames + 1)
        for label in (1, 2)
    )
    path.write_text("".join(lines))
    return path


_NAMES = {0: "N/A", 1: "fox", 2: "hare"}


def _detr_config(kind: type[Any]) -> Any:
    backbone = library.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], out_features=["stage4"]
    )
    layers = dict.fromkeys(("encoder_layers", "decoder_layers"), 1)
    widths = {"d_model": 16, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
    heads = dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 2)
    alone = {"use_timm_backbone": False, "backbone": None, "use_pretrained_backbone": False}
    return kind(
        backbone_config=backbone, num_queries=20, id2label=_NAMES, **layers, **widths, **heads, **alone
    )


def _rt_detr_config(kind: type[Any], backbone: Any) -> Any:
    return kind(
        backbone_config=backbone,
        encoder_in_channels=[16, 24, 32],
        encoder_hidden_dim=16,
        encoder_ffn_dim=32,
        encoder_attention_heads=2,
        feat_channels=[16, 16, 16],
        d_model=16,
        num_queries=20,
        decoder_in_channels=[16, 16, 16],
        decoder_ffn_dim=32,
        decoder_layers=2,
        decoder_attention_heads=2,
        hidden_expansion=0.5,
        id2label=_NAMES,
    )


def _rf_detr_config() -> Any:
    backbone = library.RfDetrDinov2Config(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=64,
        patch_size=8,
        num_windows=2,
        out_features=["stage1", "stage2"],
    )
    heads = {"decoder_self_attention_heads": 2, "decoder_cross_attention_heads": 2}
    sizes = {"d_model": 16, "decoder_ffn_dim": 32, "decoder_layers": 2, "intermediate_size": 32}
    return library.RfDetrConfig(
        backbone_config=backbone, num_queries=20, group_detr=1, id2label=_NAMES, **heads, **sizes
    )


def _hgnet_config() -> Any:
    return library.HGNetV2Config(
        stem_channels=[3, 8, 8],
        hidden_sizes=[8, 16, 24, 32],
        depths=[1, 1, 1, 1],
        stage_in_channels=[8, 8, 16, 24],
        stage_mid_channels=[8, 8, 8, 8],
        stage_out_channels=[8, 16, 24, 32],
        stage_num_blocks=[1, 1, 1, 1],
        stage_numb_of_layers=[1, 1, 1, 1],
        out_features=["stage2", "stage3", "stage4"],
    )


def _transformers_parts(kind: str) -> tuple[Any, Any]:
    """Return the configuration and the image processor of a tiny model."""
    sides = {"shortest_edge": 64, "longest_edge": 96}
    if kind in {"rt_detr_v2", "d_fine"}:
        resnet = library.RTDetrResNetConfig(
            embedding_size=8,
            hidden_sizes=[8, 16, 24, 32],
            depths=[1, 1, 1, 1],
            layer_type="basic",
            out_features=["stage2", "stage3", "stage4"],
        )
        is_v2 = kind == "rt_detr_v2"
        config = transformers.RTDetrV2Config if is_v2 else transformers.DFineConfig
        processor = transformers.RTDetrImageProcessor(size={"height": 64, "width": 64})
        return _rt_detr_config(config, resnet if is_v2 else _hgnet_config()), processor
    if kind == "rf_detr":
        return _rf_detr_config(), transformers.RfDetrImageProcessor(size={"height": 64, "width": 64})
    if kind == "detr":
        return _detr_config(transformers.DetrConfig), transformers.DetrImageProcessor(size=sides)
    config = _detr_config(transformers.ConditionalDetrConfig)
    return config, transformers.ConditionalDetrImageProcessor(size=sides)


TRANSFORMERS = ("rt_detr_v2", "d_fine", "rf_detr", "detr", "conditional_detr")
"""Kinds of models that `write_transformers` writes."""


def write_transformers(folder: Path, kind: str) -> Path:
    """Save a tiny model of transformers with random weights and its image processor, as its users do."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(6)
        config, processor = _transformers_parts(kind)
        model = library.AutoModelForObjectDetection.from_config(config)
        for name, parameter in model.named_parameters():
            # With transformers' own initialization, all queries find nearly the same box and classes.
            if parameter.dim() == 4:
                nn.init.kaiming_normal_(parameter, nonlinearity="relu")
            elif parameter.dim() > 1:
                nn.init.normal_(parameter, std=1.0 if "query" in name or "class" in name else 0.3)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
