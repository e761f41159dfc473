"""Recipes: their values, limits and messages."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml

from megavid.checkpoints.load import read_config
from megavid.core.config import has_path, parse_overrides, with_overrides
from megavid.core.errors import InputError
from megavid.models.method_registry import METHODS, detector_config
from megavid.training.read_recipe import read_recipe, shipped_recipes
from megavid.training.setup import make_detector
from tests.mutations import ends_well, mutated_bytes, mutated_value, mutators


@pytest.mark.parametrize(
    ("method", "want"),
    [
        ("fgfa", {"flow_width": 8, "window": 9}),
        ("rdn_base", {"heads": 4, "reference_proposals": 20}),
        ("mega", {"heads": 4, "reference_proposals": 20, "distilled_proposals": 5, "memory": 25}),
    ],
)
def test_optional_settings_apply_to_models_that_have_them(method: str, want: dict[str, Any]) -> None:
    recipe = read_recipe("generated", model=f"{method}_r50")
    detector, _ = make_detector(recipe, ("ball",), begins=False)
    assert want.items() <= detector.config.method.model_dump().items()


def test_the_message_about_a_renamed_section_has_the_new_name() -> None:
    with pytest.raises(InputError, match=r"^generated: optimiser: renamed to optimizer$"):
        read_recipe("generated", overrides={"optimiser.learning_rate": 0.1})


def test_settings_do_not_apply_to_the_yaml_file_of_another_model(tmp_path: Path) -> None:
    data, _ = read_config("mega_r50")
    data["backbone"] |= {"depth": 18, "width": 8}
    data["head"]["max_detections"] = 33
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(data))
    overrides = {"method.hidden": 64}
    recipe = read_recipe("generated", model=str(tmp_path / "mine.yaml"), overrides=overrides)
    detector, _ = make_detector(recipe, ("ball",), begins=False)
    config = detector.config.model_dump()
    assert (config["head"]["max_detections"], config["backbone"]["width"]) == (33, 8)
    assert config["method"]["hidden"] == 64


def test_overrides_win_over_settings() -> None:
    recipe = read_recipe("generated", model="mega_r50", overrides={"method.heads": 8})
    detector, _ = make_detector(recipe, ("ball",), begins=False)
    assert detector.config.method.model_dump().items() >= {"heads": 8, "reference_proposals": 20}.items()


def test_warning_of_a_timm_backbone_without_a_named_optimizer(caplog: pytest.LogCaptureFixture) -> None:
    timm = {"backbone.timm": "convnext_atto"}
    make_detector(read_recipe("generated", overrides=timm), ("ball",), begins=True)
    assert "optimizer.name is not given" in caplog.text
    caplog.clear()
    make_detector(
        read_recipe("generated", overrides=timm | {"optimizer.name": "sgd"}), ("ball",), begins=True
    )
    assert "optimizer.name" not in caplog.text


@pytest.mark.parametrize("name", shipped_recipes())
def test_each_optional_setting_exists_in_a_method(name: str) -> None:
    configs = [read_config(f"{method}_r50")[0] for method in METHODS]
    for path in read_recipe(name).settings_if_any:
        assert any(has_path(config, path) for config in configs), path


@pytest.mark.parametrize(
    ("path", "value"),
    [
        *(("run.steps", value) for value in (0, 10**9, 10**18)),
        *(("run.batch", value) for value in (-4, 10**9)),
        *(("run.micro_batch", value) for value in (0, 257)),
        *(("run.seed", value) for value in (-1, 2**63, 2**64)),
        *(("run.workers", value) for value in (-1, 10**9)),
        *(("log.evaluate_every", value) for value in (0, 10**9)),
        *(("optimizer.warmup", value) for value in (-1, 10**9)),
        ("optimizer.milestones", [-5]),
        ("log.keep", 10**9),
    ],
)
def test_numbers_out_of_range_are_refused(path: str, value: Any) -> None:
    with pytest.raises(InputError, match=path) as caught:
        read_recipe("generated", overrides={path: value})
    assert "than or equal to" in str(caught.value)


def test_the_largest_numbers_are_accepted() -> None:
    recipe = read_recipe("generated", overrides={"run.seed": 2**63 - 1, "run.steps": 10**8})
    detector, _ = make_detector(recipe, ("ball",), begins=True)
    assert len(detector.class_names) == 1


def test_mutated_recipes_are_read_or_refused(tmp_path: Path) -> None:
    content = resources.files("megavid").joinpath("recipes/generated.yaml").read_bytes()
    recipe = yaml.safe_load(content) | {"model": "mega_r50"}
    path = tmp_path / "recipe.yaml"

    def read() -> None:
        read_recipe(str(path), data=tmp_path, overrides={"run.seed": 1})
        made = read_recipe(str(path), overrides={"method.window": 3})
        data, origin = read_config(made.model)
        detector_config(with_overrides(data, made.model_settings(data)), origin=origin)

    whole = 0
    for random in mutators(150):
        text = yaml.safe_dump(mutated_value(recipe, random)).encode()
        broken = mutated_bytes(random.choice((content, text)), random)
        path.write_bytes(broken if random.random() < 0.4 else text)
        whole += ends_well(read)
    assert 0 < whole < 75


@pytest.mark.parametrize("name", ["x" * 5000, "/", ".", "", "a\0b", "\udcff.yaml"])
def test_names_that_are_not_a_recipe_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="no such recipe|expected a YAML file or one of"):
        read_recipe(name)


def test_a_folder_in_place_of_its_recipe_is_refused(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("model: mega_r50")
    with pytest.raises(InputError, match=r"this is a folder; did you mean .*/recipe.yaml\?"):
        read_recipe(str(tmp_path))


@pytest.mark.parametrize("text", [".inf", "1e999", "NaN", "Infinity", "inf"])
@pytest.mark.parametrize("path", ["optimizer.learning_rate", "optimizer.clip_norm", "optimizer.bias_factor"])
def test_infinite_numbers_and_nan_are_refused(path: str, text: str) -> None:
    with pytest.raises(InputError, match=rf"{path}: should be a finite number"):
        read_recipe("generated", overrides=parse_overrides({path: text}))
