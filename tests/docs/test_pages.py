"""All commands and snippets of the README and the documentation run, in their order on each page."""

from __future__ import annotations

import pkgutil
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
import torch
import tyro
import yaml

from megavid.checkpoints.load import load_detector
from megavid.cli import COMMANDS, main
from megavid.cli.arguments import split_overrides
from megavid.core.config import parse_overrides, validate
from megavid.datasets.synthetic.camera import film
from megavid.models.acceleration.inference import FAST
from megavid.models.adapters.torchvision_detector import find_model
from megavid.models.base.video_detector import VideoDetector
from megavid.models.faster_rcnn.faster_rcnn_config import FasterRCNNConfig
from megavid.models.method_registry import METHODS, detector_config
from megavid.training.read_recipe import SECTIONS, read_recipe
from megavid.training.recipe import Recipe
from tests.cli.helpers import write_video
from tests.datasets.formats.cvat.cvat_export import write_cvat_export
from tests.datasets.formats.ilsvrc.ilsvrc_set import write_ilsvrc
from tests.docs.pages import PAGES, ROOT, STAND_INS, Block, blocks, commands, shrink
from tests.models.adapters.outside_models import SSDLITE, write_boxes, write_torchvision, write_transformers
from tests.official import official_shapes, write_official

PACKAGE = ROOT / "src" / "megavid"

OTHERS = {"pip", "make", "ray", "sbatch"}
"""Programs that this test does not run; `.ci/run` does run pip and make."""


@pytest.fixture(scope="module")
def example_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the files that the pages use: a video, images, data sets, published weights."""
    folder = tmp_path_factory.mktemp("example_files")
    images = [frame.image for frame in film(seed=0, video=3, frames=4, height=72, width=96)]
    write_video(folder / "clip.mp4", images)
    (folder / "frames").mkdir()
    for number, image in enumerate(images):
        PIL.Image.fromarray(image).save(folder / "frames" / f"{number:06d}.png")
    write_official(folder / "MEGA_R_101.pth", official_shapes("mega", 50))
    write_ilsvrc(folder / "ILSVRC2015", val_videos=2, train_videos=1, stills=2)
    write_cvat_export(folder / "clips", names=("pond", "river", "lake", "sea", "fen"), frames=4)
    write_torchvision(folder / "small.pth", labels=91)
    write_transformers(folder / "rt_detr", "rt_detr_v2")
    write_boxes(folder / "det.txt", frames=4)
    return folder


@pytest.fixture
def here(example_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Change to a working directory with links to the example files."""
    for path in example_files.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    stand_in = find_model(SSDLITE).downloaded
    stand_in.parent.mkdir(parents=True)
    stand_in.symlink_to(example_files / "small.pth")
    monkeypatch.setattr(sys, "path", list(sys.path))
    known = dict(METHODS)
    yield tmp_path
    METHODS.clear()
    METHODS.update(known)
    for module in ("trailing", "toy"):  # modules that pages write
        sys.modules.pop(module, None)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)])
def test_page_runs_from_top_to_bottom(page: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names: dict[str, object] = {"frames": [], **score_example()}
    for block in blocks(page):
        if block.title:
            Path(block.title).write_text(block.text)
        if block.kind == "sh":
            for words in commands(block):
                run(words, runs=block.runs)
        elif block.kind == "python" and block.runs and not block.title:
            with monkeypatch.context() as patch:
                patch.setattr("megavid.checkpoints.load.load_detector", load_small)
                exec(compile(block.text, page, "exec"), names)
        elif block.kind == "yaml":
            check_yaml(block)


def load_small(model: str | None = None, **options: Any) -> VideoDetector:
    """Load a detector in place of `load_detector`: ignore `model`, use a small input, do not compile.

    A detector of another library is replaced by a small one. Saved boxes are loaded as they are.
    """
    options.setdefault("device", "cpu")
    options["inference"] = options.get("inference", FAST).model_copy(update={"compile": False})
    if model in STAND_INS:
        return load_detector(STAND_INS[model], **options)
    if model is not None and model.startswith("boxes:"):
        return load_detector(model, **options)
    return load_detector(None, overrides={"input.min_size": 64, "input.max_size": 96}, **options)


def run(words: list[str], *, runs: bool) -> None:
    """Run a reduced version of a command, or only check that the command and its options exist."""
    if words[0] in OTHERS:
        return
    assert words[0] == "megavid", words
    if words[1] == "score" and "base/predictions.parquet" in words and not Path("base").exists():
        shutil.copytree("eval", "base")  # the page has a single run: compare it with a copy
    if words[1:3] == ["train", "generated"]:
        arguments, overrides = split_overrides(words[3:])
        read_recipe(words[2], overrides=parse_overrides(overrides))  # check the command as the page has it
    if runs and words[1] != "demo":  # `.ci/run` runs the demo
        assert main([*shrink(words[1:])]) == 0, words
        return
    arguments, overrides = split_overrides(words[1:])
    tyro.extras.subcommand_cli_from_dict(
        COMMANDS,
        args=arguments,
        config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitSubcommandPrefixes),
    )
    sections = {*SECTIONS, *FasterRCNNConfig.model_fields, "link"}
    assert all(path.split(".")[0] in sections for path in overrides), words


def check_yaml(block: Block) -> None:
    values = yaml.safe_load(block.text)
    if "method" in values:
        if values["method"]["name"] in METHODS:
            detector_config(values, origin="the page")
    else:
        validate(Recipe, values, origin="the page")


def score_example() -> dict[str, object]:
    """Return variables for the scoring example: two frames with one object each, both detected."""
    boxes = torch.tensor([[1.0, 2, 30, 40], [5.0, 6, 50, 60]]).numpy()
    return {
        **{"frame": [0, 1], "xyxy": boxes, "label": [0, 0]},
        **{"found_frame": [0, 1], "found_xyxy": boxes, "found_label": [0, 0], "score": [0.9, 0.8]},
    }


def test_links_to_files_work() -> None:
    for page in PAGES:
        text = (ROOT / page).read_text()
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
            if not re.match(r"https?:", target):
                assert ((ROOT / page).parent / target).exists(), f"{page}: {target}"


def test_commands_in_running_text_exist() -> None:
    for page in PAGES:
        for text in re.findall(r"`((?:torchrun [^`]*)?megavid [a-z][^`]*)`", (ROOT / page).read_text()):
            [words] = commands(Block("sh", "", text.replace("\n", " "), runs=False))
            assert words[1] in COMMANDS, f"{page}: {text}"
            is_whole = "..." not in words and "--help" not in words
            if is_whole and any(word.startswith("-") for word in words):
                run(words, runs=False)


def test_modules_and_files_named_in_running_text_exist() -> None:
    parts = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    for page in (*PAGES, "CONTRIBUTING.md"):
        text = (ROOT / page).read_text()
        for path in re.findall(r"`((?:\w+/)+\w+(?:\.\w+)?)/?`", text):
            if path.split("/")[0] in {*parts, "tests", "benchmarks"}:
                assert (PACKAGE / path).exists() or (ROOT / path).exists(), f"{page}: {path}"
        for name in re.findall(r"`(?:megavid\.)?(\w+(?:\.\w+)+)`", text):
            if name.split(".")[0] in parts:
                pkgutil.resolve_name(f"megavid.{name}")
