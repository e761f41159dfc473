"""`megavid init`: projects, splits and proposed recipes."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import safetensors
import torch
from torchvision.models import get_model

from megavid.cli import main
from megavid.datasets.table.annotations import load_annotations
from megavid.training.hardware import Hardware
from megavid.training.read_recipe import read_recipe
from tests.cli.helpers import error_of
from tests.cli.init_project import NAMES, init, recipe
from tests.datasets.formats.cvat.cvat_export import write_cvat_export


def test_proposed_project_trains(exported: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start = ["--start.detector", "single_frame_generated", "--model", "mega_r50"]
    assert init(exported / "clips", *start, timed=True) == 0
    output = capsys.readouterr().out
    assert "CVAT for video" in output
    assert re.search(
        r"mega_r50, 1500 steps of 4 clips, about .* here \(.* s a step\) and 3 evaluations of 6", output
    )
    names = sorted(path.name for path in Path("project").iterdir())
    assert names == ["data.png", "recipe.yaml", "sheet.jpg", "train.parquet", "val.parquet"]
    train, val = (load_annotations(Path("project", name)) for name in ("train.parquet", "val.parquet"))
    assert (len(train), len(val)) == (24, 6)
    assert {*train.video.tolist()}.isdisjoint(val.video.tolist())
    assert f"validation videos: {val.videos[val.video[0]]}\n" in output
    assert "--check" in output
    commands = [
        line.split("#")[0].split()[1:] for line in output.splitlines() if line.startswith("  megavid ")
    ]
    assert [command[0] for command in commands] == ["train", "train", "detect"]
    assert main([*commands[0], "--device", "cpu"]) == 0
    settings = recipe()["settings"]
    with safetensors.safe_open(_shipped("single_frame_generated"), "pt") as file:
        theirs = json.loads(file.metadata()["config"])
    assert settings["backbone.width"] == theirs["backbone"]["width"]
    assert settings["rpn.anchor_sizes"] == theirs["rpn"]["anchor_sizes"]
    assert settings["method.hidden"] == theirs["method"]["hidden"]


def _shipped(name: str) -> Path:
    from megavid.checkpoints.weights import find_weights

    return find_weights(name)


@pytest.mark.parametrize(
    ("name", "description"), [("balls", "ImageNet VID"), ("balls.json", "CocoVID"), ("yolo", "YOLO")]
)
def test_formats_are_recognized(
    exported: Path, here: Path, capsys: pytest.CaptureFixture[str], name: str, description: str
) -> None:
    if name == "yolo":  # YOLO expects its images beside its labels
        shutil.copytree(exported / "yolo", here / "yolo")
        shutil.copytree(exported / "balls" / "Data", here / "yolo" / "images" / "Data")
    images = ["--images", str(exported / "balls")] if name == "balls.json" else []
    assert init((here if name == "yolo" else exported) / name, *images) == 0
    assert description in capsys.readouterr().out
    read_recipe("project/recipe.yaml")
    # Training from scratch on a CPU needs a small network with group norm.
    assert recipe()["settings"]["backbone.norm"] == "group"
    assert recipe()["run"]["frozen_stages"] == 0


def test_split_of_the_data_set_is_used(exported: Path, here: Path) -> None:
    assert init(exported / "balls") == 0
    train, val = (load_annotations(Path("project", name)) for name in ("train.parquet", "val.parquet"))
    assert all("train" in file for file in train.files.to_pylist())
    assert all("val" in file for file in val.files.to_pylist())
    assert init(exported / "balls", "--val", str(exported / "clips"), project="other") == 0
    assert len(load_annotations(Path("other", "val.parquet"))) == 30
    train = load_annotations(Path("other", "train.parquet"))
    assert all("train" in file for file in train.files.to_pylist())


def test_frames_in_both_parts_are_refused(
    exported: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert init(exported / "clips", "--val", str(exported / "clips" / "fen.xml")) == 2
    assert "fen.mp4: is in both the training and the validation data, 6 frames in total" in error_of(capsys)
    other = write_cvat_export(here / "other", names=("pond",), frames=2)
    file = other / "pond.xml"
    file.write_text(
        re.sub(r"<name>(\w+)<", r"<name>my_\1<", file.read_text()).replace('label="', 'label="my_')
    )
    assert init(exported / "clips", "--val", str(other)) == 2
    assert "has none of the classes to train on" in error_of(capsys)


def test_missing_sizes_are_read_from_the_videos(exported: Path, here: Path) -> None:
    shutil.copytree(exported / "clips", "clips")
    for name in NAMES:  # a MOT data set may have just a video and gt.txt
        Path("mot", name, "gt").mkdir(parents=True)
        rows = "".join(f"{frame},1,10,10,40,40,1,1,1\n" for frame in range(1, 7))
        Path("mot", name, "gt", "gt.txt").write_text(rows)
        shutil.move(Path("clips", f"{name}.mp4"), Path("mot", f"{name}.mp4"))
    assert init(Path("mot"), "--classes", "ball") == 0
    assert load_annotations(Path("project", "train.parquet")).width.tolist() == [192] * 24
    # Objects are 40 pixels high in frames of height 144, and the network's input has that height, too.
    assert recipe()["settings"]["rpn.anchor_sizes"][0] == 40


def test_annotations_beyond_the_end_of_the_video_are_refused(
    exported: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(exported / "clips", "clips")
    short = write_cvat_export(here / "short", names=("pond",), frames=3)
    shutil.copy(short / "pond.mp4", Path("clips", "pond.mp4"))
    assert init(Path("clips")) == 2
    assert "the video has 3 frames" in error_of(capsys)


def test_recipe_for_a_timm_backbone(exported: Path, here: Path) -> None:
    assert init(exported / "clips", "--backbone.timm", "convnext_atto") == 0
    assert "backbone.norm" not in recipe()["settings"]
    assert recipe()["settings"]["backbone.timm"] == "convnext_atto"
    expected = {"name": "adamw", "learning_rate": 1e-4, "weight_decay": 0.05}
    assert {key: recipe()["optimizer"][key] for key in expected} == expected
    assert "as Swin and ConvNeXt" in Path("project", "recipe.yaml").read_text()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), {"name": "sgd", "learning_rate": 0.01, "milestones": [400]}),
        (
            ("--backbone.timm", "convnext_atto", "--optimizer.name", "sgd"),
            {"name": "sgd", "learning_rate": 0.001},
        ),
        (("--optimizer.name", "adamw"), {"name": "adamw", "learning_rate": 1e-4}),
        (("--optimizer.schedule", "cosine"), {"name": "sgd", "schedule": "cosine", "milestones": None}),
    ],
)
def test_optimizer_settings_follow_the_options(
    exported: Path, here: Path, options: tuple[str, ...], expected: dict[str, Any]
) -> None:
    assert init(exported / "clips", "--run.steps", "500", *options) == 0
    assert {key: recipe()["optimizer"].get(key) for key in expected} == expected


def test_anchors_and_input_size_fit_the_data(exported: Path, here: Path) -> None:
    assert init(exported / "clips", "--input.max_size", "500") == 0
    settings = recipe()["settings"]
    assert settings["input.min_size"] == 144
    assert settings["input.max_size"] == 500
    anchors = settings["rpn.anchor_sizes"]
    assert len(anchors) == 3
    assert 12 <= anchors[0] < anchors[1] < anchors[2] <= 144


@pytest.mark.parametrize(
    ("hardware", "expected"),
    [
        (Hardware("cuda", 4, 80 * 2**30, 32, bfloat16=True), {"batch": 4, "dtype": "bfloat16", "workers": 2}),
        (Hardware("cuda", 6, 80 * 2**30, 32, bfloat16=True), {"batch": 6, "dtype": "bfloat16", "workers": 2}),
        (
            Hardware("cuda", 1, 8 * 2**30, 2, bfloat16=False),
            {"batch": 4, "dtype": "float32", "activation_checkpointing": True, "workers": 1},
        ),
    ],
)
def test_recipe_depends_on_the_hardware(
    exported: Path, here: Path, monkeypatch: pytest.MonkeyPatch, hardware: Hardware, expected: dict[str, Any]
) -> None:
    monkeypatch.setattr("megavid.training.hardware.find_hardware", lambda device: hardware)
    assert init(exported / "clips", "--start.backbone", "torchvision:resnet50") == 0
    values = recipe()
    assert values["model"] == "mega_r50"
    assert values["start"] == {"backbone": "torchvision:resnet50"}
    assert {name: values["run"][name] for name in expected} == expected
    # With published weights, the recipe keeps frozen norms, frozen first stages and the published size.
    assert "backbone.norm" not in values["settings"]
    assert values["run"]["frozen_stages"] == 2
    assert values["settings"]["input.min_size"] == 600
    assert values["optimizer"]["learning_rate"] == 0.001
    assert ("activation_checkpointing" in values["run"]) == ("activation_checkpointing" in expected)


@pytest.mark.parametrize("depth", [18, 50])
def test_a_recipe_that_starts_from_a_resnet_of_torchvision_trains_as_it_is(
    exported: Path, here: Path, capsys: pytest.CaptureFixture[str], depth: int
) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.save(get_model(f"resnet{depth}", weights=None).state_dict(), "resnet.pth")
    small = ["--input.min_size", "96", "--input.max_size", "128", "--rpn.post_nms_top_n", "20"]
    assert init(exported / "clips", "--start.backbone", "resnet.pth", *small) == 0
    assert recipe()["settings"].get("backbone.depth", 50) == depth
    assert recipe()["settings"].get("backbone.stride_in_1x1", True) == (depth == 18)
    assert main(["train", "project/recipe.yaml", "--check", "-o", "run", "--device", "cpu"]) == 0


@pytest.mark.parametrize(
    ("backbone", "model", "settings"),
    [
        ("torchvision:resnet50", "mega_r50", {"backbone.stride_in_1x1": False}),
        ("torchvision:resnet101", "mega_r101", {"backbone.stride_in_1x1": False}),
        ("torchvision:resnet34", "mega_r50", {"backbone.depth": 34}),
        ("msra:resnet50", "mega_r50", {}),
        ("msra:resnet101", "mega_r101", {}),
        ("timm:convnext_tiny.fb_in22k", "mega_r50", {"backbone.timm": "convnext_tiny.fb_in22k"}),
    ],
)
def test_the_network_has_the_backbone_that_it_starts_from(
    exported: Path, here: Path, backbone: str, model: str, settings: dict[str, Any]
) -> None:
    assert init(exported / "clips", "--start.backbone", backbone) == 0
    values = recipe()
    assert values["model"] == model
    own = {path: value for path, value in values["settings"].items() if path.startswith("backbone.")}
    assert own == settings


def test_steps_depend_on_the_data(exported: Path, here: Path) -> None:
    assert init(exported / "clips", "--run.steps", "50") == 0
    assert recipe()["run"]["steps"] == 50
    assert recipe()["optimizer"]["milestones"] == [40]
    assert recipe()["optimizer"]["warmup"] == 5


def test_steps_are_reduced_to_the_time_limit(
    exported: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["--start.detector", "single_frame_generated"]
    assert init(exported / "clips", *small, "--hours", "0.0001", timed=True) == 0
    assert recipe()["run"]["steps"] == 100  # instead of 1,500
    assert recipe()["optimizer"] == {**recipe()["optimizer"], "warmup": 10, "milestones": [80]}
    assert "note: the data is enough for 1500 steps, which take about" in capsys.readouterr().out
    assert "1500 would be better" in Path("project", "recipe.yaml").read_text()
    # Values set by the user are kept.
    more = ["--run.steps", "50", "--hours", "0.0001"]
    assert init(exported / "clips", *small, *more, project="other", timed=True) == 0
    assert recipe("other")["run"]["steps"] == 50


def test_validation_videos_can_be_named(
    exported: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert init(exported / "clips", "--val-videos", "sea, pond") == 0
    val = load_annotations(Path("project", "val.parquet"))
    assert sorted(val.videos[video] for video in set(val.video.tolist())) == ["pond", "sea"]
    assert len(load_annotations(Path("project", "train.parquet"))) == 18
    assert "2 videos, 12 frames" in capsys.readouterr().out
    for names, message in (
        ("sea,ocean", "'ocean': expected the name of one video, such as"),
        (",".join(NAMES), "--val-videos: has all videos"),
        (",", "--val-videos: expected names separated by commas"),
    ):
        assert init(exported / "clips", "--val-videos", names, project="other") == 2
        assert message in error_of(capsys)


def test_single_video_is_split_in_time(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_cvat_export(here / "one", names=("pond",), frames=20)
    assert init(data) == 0
    output = capsys.readouterr().out
    assert "the end of each video; the 2 frames before it are left out" in output
    train, val = (load_annotations(Path("project", name)) for name in ("train.parquet", "val.parquet"))
    assert train.number.tolist() == list(range(14))
    assert val.number.tolist() == list(range(16, 20))
    assert recipe()["data"]["val"] == {"path": "project/val.parquet"}
    assert main(["train", "project/recipe.yaml", "--check", "--device", "cpu", "--run.batch", "1"]) == 0


def test_split_can_be_selected(exported: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_cvat_export(here / "long", names=("pond", "river"), frames=10)
    assert init(data, "--split", "time", "--val-share", "0.3") == 0
    val = load_annotations(Path("project", "val.parquet"))
    assert val.video.tolist() == [0, 0, 0, 1, 1, 1]
    assert val.number.tolist() == [7, 8, 9] * 2
    assert init(exported / "balls", "--split", "videos", project="other") == 0  # splits the training subset
    files = load_annotations(Path("other", "val.parquet")).files.to_pylist()
    assert all("train" in file for file in files)
    for arguments, message in (
        (["--split", "time"], "--split time: expected a video of 10 frames or more"),
        (["--split", "time", "--val-videos", "sea"], "--split: does not go with --val-videos"),
        (["--val", "x", "--val-videos", "sea"], "--val-videos: does not go with --val"),
    ):
        assert init(exported / "clips", *arguments, project="third") == 2
        assert message in error_of(capsys)
    one = write_cvat_export(here / "one", names=("pond",), frames=20)
    assert init(one, "--split", "videos", project="third") == 2
    assert "--split videos: expected two videos or more" in error_of(capsys)


def test_classes_missing_in_one_part_are_noted(
    exported: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(exported / "clips", "clips")
    for name in NAMES:
        path = Path("clips", f"{name}.xml")
        text = path.read_text()
        other = "fox" if name == "pond" else "ball"
        path.write_text(re.sub(r'<track id="(\d+)" label="\w+"', rf'<track id="\1" label="{other}"', text))
    assert init(Path("clips"), "--val-videos", "pond", "--classes", "ball,fox,owl") == 0
    output = capsys.readouterr().out
    assert "note: no validation boxes of ball: their AP will be unknown" in output
    assert "note: no training boxes of fox, owl: they will not be detected" in output


def test_video_too_short_to_split_is_only_trained_on(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_cvat_export(here / "one", names=("pond",), frames=3)
    assert init(data) == 0
    assert "nothing: the only video has fewer than 10 frames" in capsys.readouterr().out
    assert recipe()["data"]["val"] is None
    assert "val:" in Path("project", "recipe.yaml").read_text()
    assert not Path("project", "val.parquet").exists()
