"""The shipped configurations: every method on both backbones, with the published numbers."""

from __future__ import annotations

from typing import Any

import pytest

from megavid import shipped_configs
from megavid.convert.load import read_config
from megavid.methods import METHODS, detector_config

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


def test_every_method_has_both_backbones() -> None:
    assert set(shipped_configs()) >= {f"{method}_r{depth}" for method in METHODS for depth in (50, 101)}


@pytest.mark.parametrize("depth", [50, 101])
@pytest.mark.parametrize("method", PUBLISHED)
def test_numbers_are_the_published_ones(method: str, depth: int) -> None:
    data, name = read_config(f"{method}_r{depth}")
    config = detector_config(data, origin=name)
    assert config.method.name == method
    assert PUBLISHED[method].items() <= config.method.model_dump().items()
    assert config.backbone.depth == depth
    assert config.backbone.reduce_channels == (256 if depth == 50 else None)
    assert (config.input.min_size, config.input.max_size) == (600, 1000)
    assert (config.rpn.candidates, config.rpn.proposals, config.head.max_detections) == (6000, 300, 300)


@pytest.mark.parametrize("depth", [50, 101])
def test_what_is_no_method_is_the_same_in_all(depth: int) -> None:
    shared = []
    for method in METHODS:
        data, _ = read_config(f"{method}_r{depth}")
        shared.append({key: value for key, value in data.items() if key != "method"})
    assert all(data == shared[0] for data in shared)
