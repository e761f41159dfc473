"""Weights that ship with the package."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import safetensors

from megavid import InputError, load_detector
from megavid.checkpoints.load import convert_weights
from megavid.checkpoints.weights import find_weights
from megavid.core.files.shipped import shipped_files
from megavid.datasets.synthetic.scene import CLASSES
from megavid.jobs.run_demo import WEIGHTS


def test_total_size_is_small() -> None:
    shipped = shipped_files("weights", ".safetensors")
    assert set(shipped) == set(WEIGHTS.values())
    assert sum(path.stat().st_size for path in shipped.values()) < 25_000_000


def test_shipped_weights_are_loaded_by_name(tmp_path: Path) -> None:
    convert_weights(Path("mega_generated"), tmp_path / "mine.safetensors")
    one, other = (
        load_detector(weights=weights, device="cpu")
        for weights in ("mega_generated", tmp_path / "mine.safetensors")
    )
    assert one.config == other.config
    with pytest.raises(
        InputError, match="nothing: no such weight file; expected one, or a name: mega_generated"
    ):
        load_detector(weights="nothing")


@pytest.mark.parametrize(("method", "name"), WEIGHTS.items())
def test_metadata_and_model_card_are_right(method: str, name: str) -> None:
    detector = load_detector(weights=name, device="cpu")
    assert detector.config.method.name == method
    assert detector.class_names == CLASSES
    with safetensors.safe_open(find_weights(name), "pt") as file:
        metadata = file.metadata()
    trained = json.loads(metadata["trained"])
    assert metadata["licence"] == "Apache-2.0"
    card = find_weights(name).with_name(metadata["card"]).read_text()
    assert f"# {name}" in card
    assert all(part in card for part in (trained["command"], trained["commit"], "AP50", "hours"))
