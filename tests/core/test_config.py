"""Reading configurations, and the messages about invalid ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from megavid.checkpoints.load import read_config, shipped_configs
from megavid.core.config import (
    Config,
    has_path,
    parse_overrides,
    read_mapping,
    rename_keys,
    rename_path,
    validate,
    value_at,
    with_overrides,
)
from megavid.core.errors import LONGEST_MESSAGE, InputError
from megavid.models.faster_rcnn.faster_rcnn_config import FasterRCNNConfig
from megavid.models.method_registry import METHODS, detector_config
from tests.mutations import ends_well


def mega(**overrides: Any) -> Any:
    data, origin = read_config("mega_r50")
    return detector_config(with_overrides(data, overrides), origin=origin)


@pytest.mark.parametrize("name", shipped_configs())
def test_shipped_configurations_are_valid_and_named_consistently(name: str) -> None:
    data, origin = read_config(name)
    config = detector_config(data, origin=origin)
    assert isinstance(config, FasterRCNNConfig)
    assert name == f"{config.method.name}_r{config.backbone.depth}"
    assert len(config.classes) == 30
    assert config.classes[0] == "airplane"
    assert config.classes[-1] == "zebra"


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_both_published_sizes(method: str) -> None:
    assert {f"{method}_r50", f"{method}_r101"} <= set(shipped_configs())


def test_an_override_changes_one_value() -> None:
    assert mega(**{"method.window": 6}).method.window == 6
    assert mega().method.window == 12


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("method.windw", 6, "method.windw: unknown key"),
        ("windw", 6, "windw: unknown key"),
        ("method.window", "six", "method.window: .*integer, got 'six'"),
        ("method.window", -1, "method.window: .*greater than or equal to 0, got -1"),
        ("method.window", True, "method.window: .*integer"),
        ("method.window.left", 3, "method.window.left: 'window' is a value"),
        ("method.name", "megga", "method.name: expected one of .*mega.*, got 'megga'"),
        ("method.heads", 7, "multiple of heads 7"),
        ("method.distilled_proposals", 76, "should not exceed reference_proposals 75"),
        ("backbone.depth", 52, "backbone.depth: .*50"),
        ("input.mean", [1.0, 2.0], "input.mean"),
        ("classes", ["cat", "dog", "cat"], "classes: .*cat more than once"),
        ("classes", [], "classes"),
        ("rpn", None, "rpn"),
    ],
)
def test_messages_name_the_path_of_an_invalid_value(path: str, value: object, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        mega(**{path: value})
    assert "mega_r50" in str(error.value) or "is a value" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_key_is_named() -> None:
    data, _ = read_config("mega_r50")
    del data["rpn"]["post_nms_top_n"]
    with pytest.raises(InputError, match="here: rpn.post_nms_top_n: missing"):
        detector_config(data, origin="here")


class Inner(Config):
    renamed_keys: ClassVar = {"drops": "milestones"}

    milestones: int = 0


class Outer(Config):
    renamed_keys: ClassVar = {"optimiser": "optimizer"}

    optimizer: Inner | None = None
    free: dict[str, int] = Field(default_factory=dict)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"optimizer": {"drops": 3}}, "here: optimizer.drops: renamed to optimizer.milestones"),
        ({"optimiser": {"milestones": 3}}, "here: optimiser: renamed to optimizer"),
        (
            {"optimiser": {"drops": 3}},
            "here: optimiser: renamed to optimizer; optimiser.drops: renamed to optimizer.milestones",
        ),
        ({"optimiser": 3, "unknown": 4}, "here: optimiser: renamed to optimizer"),
    ],
)
def test_renamed_keys_are_refused_with_the_new_key(data: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        validate(Outer, data, origin="here")
    assert str(error.value) == message


def test_keys_of_an_earlier_version_are_renamed() -> None:
    data = {"optimiser": {"drops": 3, "unknown": 4}, "free": {"drops": 5}, "unknown": [6]}
    renamed = {"optimizer": {"milestones": 3, "unknown": 4}, "free": {"drops": 5}, "unknown": [6]}
    assert rename_keys(Outer, data) == renamed
    assert rename_keys(Outer, renamed) == renamed
    assert rename_keys(Outer, {"optimiser": 3}) == {"optimizer": 3}
    assert rename_path(Outer, "optimiser.drops") == "optimizer.milestones"
    assert rename_path(Outer, "optimiser") == "optimizer"
    assert rename_path(Outer, "free.drops") == "free.drops"


def test_the_message_about_an_unknown_configuration_lists_the_available_ones() -> None:
    with pytest.raises(InputError, match="mega_r999: no such configuration; .*mega_r101"):
        read_config("mega_r999")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [1", "no valid YAML"),
        (b"- 1\n- 2", "expected a mapping"),
        (b"\xff\xfe\x00", "expected text in UTF-8"),
        (b"", "expected a mapping"),
    ],
)
def test_files_that_are_not_a_configuration_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"broken.yaml: {message}"):
        read_mapping(path)


def test_command_line_values_have_yaml_types() -> None:
    parsed = parse_overrides(
        {"a.b": "6", "a.c": "0.5", "a.d": "[1, 2]", "a.e": "null", "a.f": "word", "a.g": "1e-3"}
    )
    assert parsed == {"a.g": 0.001, "a.b": 6, "a.c": 0.5, "a.d": [1, 2], "a.e": None, "a.f": "word"}
    with pytest.raises(InputError, match="--a.b: expected a value"):
        parse_overrides({"a.b": ""})


@pytest.mark.parametrize(
    "text",
    [
        "[1",
        "[&a [1, 2], *a]",
        "[" * 100_000,
        "1" * 400,
        '"\\ud800"',
        "\udcff",
        '["\udcff"]',
        "\x00",
        "x: [y: z",
    ],
)
def test_invalid_command_line_values_are_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"^--a\.b: ") as error:
        parse_overrides({"a.b": text})
    assert len(str(error.value)) <= LONGEST_MESSAGE


def test_dates_and_number_like_words_on_a_command_line_are_text() -> None:
    parsed = parse_overrides({"a": "2020-12-24", "b": "2020-13-45", "c": "1e", "d": "nano"})
    assert parsed == {"a": "2020-12-24", "b": "2020-13-45", "c": "1e", "d": "nano"}


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.dictionaries(st.text(min_size=1), st.text(), max_size=3))
def test_any_command_line_value_is_read_or_refused(overrides: dict[str, str]) -> None:
    assert isinstance(ends_well(lambda: parse_overrides(overrides)), bool)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(JSON)
def test_json_on_a_command_line_keeps_its_types(value: Any) -> None:
    assert parse_overrides({"a": json.dumps(value)}) == {"a": value}


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.sampled_from(["method.window", "rpn.nms_threshold", "input.mean", "classes", "rpn", "backbone.timm"]),
    JSON,
)
def test_any_configuration_value_is_accepted_or_refused(path: str, value: Any) -> None:
    ends_well(lambda: mega(**{path: value}))


def test_a_path_with_the_value_none_exists() -> None:
    data = {"section": {"key": None}}
    assert has_path(data, "section.key")
    assert not has_path(data, "section.other")
    assert not has_path(data, "section.key.inner")
    assert value_at(data, "section.other", default=3) == 3
