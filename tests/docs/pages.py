"""Find the code blocks of Markdown pages, and reduce their commands so that a test can run them."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import tiny_overrides

ROOT = Path(__file__).parents[2]

PAGES = ["README.md", *(str(p.relative_to(ROOT)) for p in sorted((ROOT / "docs").rglob("*.md")))]

NOT_RUN = "<!-- not run:"

STAND_INS = {
    "torchvision:fasterrcnn_resnet50_fpn_v2": "torchvision:ssdlite320_mobilenet_v3_large",
    "transformers:PekingU/rtdetr_v2_r18vd": "transformers:./rt_detr",
}
"""Small detectors of other libraries that take the place of those on the pages."""


@dataclass(frozen=True)
class Block:
    """A code block of a page.

    Attributes:
        kind: Language: "sh", "python", "yaml", or "" for none.
        title: Name of the file to save the block as; "" for none.
        text: Text of the block.
        runs: Whether a test can run the block; if not, a comment in the page gives the reason.
    """

    kind: str
    title: str
    text: str
    runs: bool


def blocks(page: str) -> list[Block]:
    """Return the code blocks of a page, in order."""
    lines, found = (ROOT / page).read_text().splitlines(), []
    start: int | None = None
    for number, line in enumerate(lines):
        if not line.startswith("```"):
            continue
        if start is None:
            start = number
            continue
        kind, _, rest = lines[start].removeprefix("```").partition(" ")
        title = re.fullmatch(r'title="([^"]+)"', rest)
        runs = start == 0 or not lines[start - 1].startswith(NOT_RUN)
        text = "\n".join(lines[start + 1 : number]) + "\n"
        found.append(Block(kind, title[1] if title else "", text, runs))
        start = None
    assert start is None, f"{page}: a code block has no end"
    return found


def commands(block: Block) -> Iterator[list[str]]:
    """Yield the command lines of a shell block, without comments and without `torchrun`."""
    for line in block.text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words and words[0] == "torchrun":
            words = words[words.index("megavid") :]
        if words:
            yield words


def tiny_network(arguments: list[str]) -> list[str]:
    """Return options that replace the published network of a recipe for ImageNet VID with a tiny one."""
    default = "rdn_r101" if arguments[1] == "vid_rdn" else "mega_r101"
    model = arguments[arguments.index("--model") + 1] if "--model" in arguments else default
    settings = tiny_overrides(model.rsplit("_", 1)[0]) | {"backbone.norm": "group", "run.frozen_stages": 0}
    del settings["classes"]
    return [word for path, value in settings.items() for word in (f"--{path}", json.dumps(value))]


def shrink(arguments: list[str]) -> list[str]:
    """Return a smaller version of a command, with fewer steps, frames and pixels.

    It lacks `--compile`, which other tests cover, and options that name files outside the package.
    """
    dropped = {"--start.backbone", "--start.flow", "--motion"}
    kept: list[str] = []
    words = iter(arguments)
    for word in words:
        if word in dropped:
            next(words)
        elif word == "--videos" and kept[0] != "archive":  # a number of videos
            kept += [word, str(min(int(next(words)), 10))]
        elif word != "--compile":
            kept.append(STAND_INS.get(word, word))
    if "--detector" in kept and {"clips/pond.mp4", "pond_life/val.parquet"} & set(kept):
        # These videos show generated shapes: a detector that finds them takes the place of one for COCO.
        place = kept.index("--detector")
        kept[place : place + 2] = ["--weights", "single_frame_generated"]
    if kept[0] == "train":
        kept += ["--run.steps", "2", "--optimizer.milestones", "[]", "--run.workers", "0", "--run.batch", "1"]
        if kept[1] in {"vid", "vid_rdn"}:
            kept += tiny_network(kept)
    if kept[0] == "benchmark":
        kept += ["--frames", "2", "--height", "72", "--width", "96"]
        if "mega_r101" in kept:
            kept += ["--backbone.depth", "18", "--backbone.width", "8", "--backbone.reduce_channels", "16"]
        if any("mega" in word for word in kept):
            kept += ["--method.window", "2", "--method.memory", "2"]
    if kept[:2] == ["data", "synthesize"]:
        kept += ["--frames", "6"]
    if kept[0] in {"detect", "evaluate"} and "MEGA_R_101.pth" in kept:
        kept += ["--input.min_size", "64", "--input.max_size", "96"]
    return kept
