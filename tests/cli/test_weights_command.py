"""`megavid weights`: the list of weights, and downloads."""

from __future__ import annotations

from pathlib import Path

import pytest

from megavid.checkpoints.published import find_source, published_weights
from megavid.checkpoints.weights import read_weights
from megavid.checkpoints.weights_cache import cached_path
from megavid.cli import main
from megavid.core.files.checksums import file_sha256
from tests.cli.helpers import read_predictions
from tests.cli.init_project import init, recipe


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a new folder the cache."""
    monkeypatch.setenv("MEGAVID_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "cache"


def cells(printed: str) -> dict[str, list[str]]:
    """Return the cells of each row of a printed table, by the first of them."""
    rows = [
        [cell.strip() for cell in line.strip("│").split("│")]
        for line in printed.splitlines()
        if line.startswith("│")
    ]
    return {row[0]: row[1:] for row in rows}


def test_all_weights_are_listed(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights"]) == 0
    printed = capsys.readouterr().out
    rows = cells(printed)
    assert list(rows) == list(published_weights())
    licence = "non-commercial (original MEGA release)"
    assert rows["mega_r101_vid"] == [
        *("--weights", "mega_r101", "30", "82.9", "692", "ImageNet VID", licence, "no")
    ]
    assert rows["mega_generated"][-2:] == ["Apache-2.0", "yes, ships with megavid"]
    assert rows["torchvision:resnet50"][0] == "--start.backbone"
    assert f"cache: {cache} (MEGAVID_CACHE sets it)" in printed
    assert "\x1b" not in printed


def test_weights_are_downloaded_and_marked(
    cache: Path, weights: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["weights", weights["mega"].as_uri()]) == 0
    path = Path(capsys.readouterr().out.strip())
    assert path.parent == cache / "weights"
    assert path.suffix == ".safetensors"
    read_weights(path)
    assert main(["weights", "mega_generated"]) == 0
    assert capsys.readouterr().out.endswith("weights/mega_generated.safetensors\n")


def test_address_is_a_start_for_training_and_a_detector(
    exported: Path, here: Path, folder: Path, weights: dict[str, Path]
) -> None:
    address = weights["single_frame"].as_uri()
    assert init(exported / "clips", "--start.detector", address, "--run.steps", "1") == 0
    assert recipe()["start"] == {"detector": address}
    assert main(["train", "project/recipe.yaml", "--device", "cpu", "--data.val", "null", "-o", "run"]) == 0
    assert main(["detect", str(folder), "--weights", address, "--device", "cpu", "-o", "out"]) == 0
    _, metadata = read_predictions(Path("out") / "predictions.parquet")
    source = find_source(address)
    assert source is not None
    assert metadata["weights"] == source.file
    assert metadata["weights_sha256"] == file_sha256(cached_path(source))


def test_detector_of_another_library_is_no_weights(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("torchvision:ssd300_vgg16", "transformers:PekingU/rtdetr_v2_r18vd", "boxes:det.txt"):
        assert main(["detect", str(folder), "--weights", name, "-o", str(tmp_path / "out")]) == 2
        assert f"{name}: expected weights of megavid; --detector takes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mega_r99_vid", "mega_r99_vid: no such weight file; expected one, or a name"),
        ("mega_r50_vid", "https://drive.google.com/uc?id=1EZzpBuCfI75bsd_gxK1495tXlh0K_34H: cannot be"),
        (
            "msra:resnet50",
            "https://dl.fbaipublicfiles.com/detectron/ImageNetPretrained/MSRA/R-50.pkl: ",
        ),
        ("torchvision:resnet9", "torchvision:resnet9: expected one of torchvision:resnet18"),
        ("timm:convnext_tiny", "timm:convnext_tiny: timm downloads it when training starts"),
    ],
)
def test_what_cannot_be_downloaded_is_one_line(
    name: str, message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # so that no test reaches the internet
    assert main(["weights", name]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith(f"megavid: error: {message}")
