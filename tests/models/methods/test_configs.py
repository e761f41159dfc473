"""The shipped configurations, for every method and backbone: published values, limits and memory."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch

from megavid import shipped_configs
from megavid.checkpoints.load import read_config
from megavid.core.config import with_overrides
from megavid.core.errors import InputError
from megavid.models.base import size_check as memory
from megavid.models.faster_rcnn.faster_rcnn_config import FasterRCNNConfig
from megavid.models.method_registry import METHODS, build_detector, detector_config
from tests.conftest import TINY_METHODS, build_tiny
from tests.mutations import ends_well, mutated_value, mutators

PUBLISHED: dict[str, dict[str, Any]] = {
    "single_frame": {},
    "dff": {"key_interval": 10},
    "fgfa": {"window": 9},
    "rdn_base": {"window": 18, "reference_proposals": 75, "stages": 2},
    "rdn": {"window": 18, "reference_proposals": 75, "distilled_proposals": 15, "stages": 2},
    "mega": {
        "window": 12,
        "memory": 25,
        "global_frames": 10,
        "reference_proposals": 75,
        "distilled_proposals": 15,
        "stages": 3,
    },
    "selsa": {"global_frames": 21, "reference_proposals": 300, "stages": 2},
}


def test_every_method_has_a_configuration_for_both_backbones() -> None:
    assert set(shipped_configs()) >= {f"{method}_r{depth}" for method in TINY_METHODS for depth in (50, 101)}


@pytest.mark.parametrize("depth", [50, 101])
@pytest.mark.parametrize("method", PUBLISHED)
def test_settings_equal_the_published_ones(method: str, depth: int) -> None:
    data, name = read_config(f"{method}_r{depth}")
    config = detector_config(data, origin=name)
    assert isinstance(config, FasterRCNNConfig)
    assert config.method.name == method
    assert PUBLISHED[method].items() <= config.method.model_dump().items()
    assert config.backbone.depth == depth
    assert config.backbone.reduce_channels == (256 if depth == 50 else None)
    assert (config.input.min_size, config.input.max_size) == (600, 1000)
    assert (config.rpn.pre_nms_top_n, config.rpn.post_nms_top_n, config.head.max_detections) == (
        6000,
        300,
        300,
    )


@pytest.mark.parametrize("depth", [50, 101])
def test_configs_of_all_methods_differ_in_the_method_section_only(depth: int) -> None:
    shared = []
    for method in TINY_METHODS:
        data, _ = read_config(f"{method}_r{depth}")
        shared.append({key: value for key, value in data.items() if key != "method"})
    assert all(data == shared[0] for data in shared)


def configured(method: str, **overrides: Any) -> Any:
    data, origin = read_config(f"{method}_r50")
    return detector_config(with_overrides(data, overrides), origin=origin)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("single_frame", f"input.{key}") for key in ("min_size", "max_size")),
        *(("single_frame", f"backbone.{key}") for key in ("width", "reduce_channels")),
        *(
            ("single_frame", f"rpn.{key}")
            for key in ("pre_nms_top_n", "post_nms_top_n", "batch_size_per_image")
        ),
        *(("single_frame", f"head.{key}") for key in ("pool_size", "max_detections", "batch_size_per_image")),
        ("single_frame", "method.hidden"),
        *(("dff", f"method.{key}") for key in ("key_interval", "flow_width")),
        *(("fgfa", f"method.{key}") for key in ("window", "flow_width")),
        *(("rdn", f"method.{key}") for key in ("window", "stages", "reference_proposals")),
        *(("mega", f"method.{key}") for key in ("window", "memory", "global_frames", "global_stages")),
        ("selsa", "method.global_frames"),
    ],
)
def test_numbers_that_determine_sizes_have_limits(method: str, path: str) -> None:
    with pytest.raises(InputError, match=rf"{path}: should be less than or equal to \d+, got 1000000000$"):
        configured(method, **{path: 1_000_000_000})


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("rpn.anchor_sizes", [16] * 33, "at most 32 items"),
        ("rpn.anchor_sizes", [0], "anchor_sizes.0: should be greater"),
        ("rpn.anchor_ratios", [1.0] * 1000, "at most 32 items"),
        ("rpn.anchor_ratios", [0.0], "anchor_ratios.0: should be greater"),
        ("rpn.anchor_ratios", [float("nan")], "anchor_ratios.0: should be"),
        ("input.mean", [1.0, 2.0, 1e308], "mean.2: should be less"),
        ("input.mean", [1.0, 2.0, float("inf")], "mean.2: should be"),
        ("head.score_threshold", float("nan"), "score_threshold: should be"),
        ("classes", [f"c{i}" for i in range(1_000_000)], "at most 100000 items"),
        ("classes", ["c"] * 100_000, "c more than once"),
    ],
)
def test_invalid_values_are_refused(path: str, value: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        configured("mega", **{path: value})


def test_model_too_large_for_memory_is_refused_before_it_is_built(device: torch.device) -> None:
    """Each number is within its limits, but together they require 64 * 64 * 16384 * 16384 float32 weights."""
    large = {"head.pool_size": 64, "method.hidden": 16384, "backbone.reduce_channels": 16384}
    with pytest.raises(InputError, match=r"^the model is too large .*\(weights 4399\.4 GB"):
        build_detector(configured("single_frame", **large)).to(device)


def test_memory_is_estimated(monkeypatch: pytest.MonkeyPatch, device: torch.device) -> None:
    detector = build_tiny("single_frame", device)
    weights = sum(tensor.nbytes for tensor in (*detector.parameters(), *detector.buffers()))
    pooled = 4 * 20 * 3 * 3 * 16  # 20 proposals of 3 x 3 cells of 16 channels
    first_map = 4 * 8 * 32 * 48  # 8 channels at half of 64 x 96 pixels
    monkeypatch.setattr(memory, "usable_memory", lambda: weights + pooled + first_map)
    before = torch.random.get_rng_state()
    memory.check_memory(METHODS["single_frame"], detector.config)
    assert torch.equal(torch.random.get_rng_state(), before)
    monkeypatch.setattr(memory, "usable_memory", lambda: weights + pooled + first_map - 1)
    with pytest.raises(InputError, match="too large"):
        memory.check_memory(METHODS["single_frame"], detector.config)


@pytest.mark.parametrize(
    "name", ["hf-hub:timm/resnet50.a1_in1k", "local-dir:/tmp", "x" * 100_000, "", "../.."]
)
def test_unknown_timm_backbones_are_refused(name: str, device: torch.device) -> None:
    config = configured("single_frame", **{"backbone.timm": name})
    with pytest.raises(InputError, match=r"^backbone\.timm: timm has no model "):
        build_detector(config).to(device)


def test_mutated_configurations_are_read_or_refused() -> None:
    whole = 0
    for random in mutators(200):
        data, _ = read_config(f"{random.choice(list(PUBLISHED))}_r50")
        mutated = mutated_value(data, random)
        whole += isinstance(mutated, dict) and ends_well(partial(detector_config, mutated, origin="x"))
    assert 0 < whole < 100
