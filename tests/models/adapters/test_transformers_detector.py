"""Detectors of transformers give what transformers gives, and mistakes are explained."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from megavid import Inference, InputError, detect_video, load_detector
from megavid.checkpoints.other_libraries import describe_outside_weights
from megavid.core.frames import Image
from megavid.models.adapters.transformers_detector import TransformersDetector
from tests.models.adapters.outside_models import TRANSFORMERS

MakeFrames = Callable[[int], list[Image]]

library: Any = transformers  # not all of its functions have types


def load(folder: Path, **options: Any) -> TransformersDetector:
    detector = load_detector(f"transformers:{folder}", device="cpu", **options)
    assert isinstance(detector, TransformersDetector)
    return detector


def by_transformers(folder: Path, frames: list[Image]) -> list[dict[str, torch.Tensor]]:
    """Detect as the documentation of transformers says."""
    model = library.AutoModelForObjectDetection.from_pretrained(folder)
    processor = library.AutoImageProcessor.from_pretrained(folder)
    with torch.no_grad():
        output = model(**processor(images=frames, return_tensors="pt"))
    sizes = [frame.shape[:2] for frame in frames]
    found: list[dict[str, torch.Tensor]]
    found = processor.post_process_object_detection(output, threshold=0.001, target_sizes=sizes)
    return found


def sorted_rows(boxes: torch.Tensor, scores: torch.Tensor, labels: torch.Tensor) -> list[list[float]]:
    rows = torch.cat((scores[:, None], labels[:, None].float(), boxes), 1)
    return sorted(rows.tolist(), reverse=True)


@pytest.mark.parametrize("kind", TRANSFORMERS)
def test_detections_are_those_of_transformers(
    kind: str, outside_files: Path, make_frames: MakeFrames
) -> None:
    frames, folder = make_frames(2), outside_files / kind
    # These give as many pairs of query and class as there are queries, here 20.
    most = {"method.max_detections": 20 if kind in {"rt_detr_v2", "d_fine", "rf_detr"} else 100}
    detector = load(folder, overrides=most)
    assert detector.class_names == ("fox", "hare")  # label 0 has the name N/A
    results = list(detect_video(detector, frames, batch_size=2))
    for result, theirs in zip(results, by_transformers(folder, frames), strict=True):
        found = result.detections
        boxes = theirs["boxes"]
        boxes = torch.stack((boxes[:, 0::2].clamp(0, 96), boxes[:, 1::2].clamp(0, 64)), 2).flatten(1)
        kept = (theirs["labels"] > 0) & (boxes[:, 2:] > boxes[:, :2]).all(1)  # named, and in the frame
        expected = sorted_rows(boxes[kept], theirs["scores"][kept], theirs["labels"][kept] - 1)
        assert 0 < len(expected) == len(found)
        actual = sorted_rows(found.boxes, found.scores, found.labels)
        assert torch.tensor(actual).allclose(torch.tensor(expected), atol=2e-3)


@pytest.mark.parametrize("kind", ["rt_detr_v2", "detr"])
def test_class_scores_are_those_of_the_query(kind: str, outside_files: Path, make_frames: MakeFrames) -> None:
    [result] = detect_video(load(outside_files / kind), make_frames(1))
    found = result.detections
    assert found.class_scores is not None
    assert found.class_scores.shape == (len(found), 2)
    own = found.class_scores.gather(1, found.labels[:, None])[:, 0]
    assert torch.equal(own, found.scores)
    if kind == "detr":  # softmax over three labels and "no object"; each query once, as its best class
        assert (found.class_scores.sum(1) < 1).all()
        assert torch.equal(found.class_scores.argmax(1), found.labels)
        assert len(found.boxes.unique(dim=0)) == len(found)
    else:  # sigmoid; a query may be found as several classes
        assert len(found.boxes.unique(dim=0)) < len(found)


def test_half_precision_computes_boxes_in_float32(outside_files: Path, make_frames: MakeFrames) -> None:
    frames, folder = make_frames(1), outside_files / "detr"
    detector = load(folder, inference=Inference(dtype="bfloat16"))
    dtypes = []
    head = detector.network.get_submodule("bbox_predictor")
    head.register_forward_hook(lambda module, inputs, output: dtypes.append(output.dtype))
    [half], [full] = detect_video(detector, frames), detect_video(load(folder), frames)
    assert dtypes == [torch.float32]
    assert half.detections.scores[0] != full.detections.scores[0]
    assert (half.detections.boxes[0] - full.detections.boxes[0]).abs().max() < 2


def test_a_folder_is_recorded_and_named_from_the_working_directory(
    outside_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(outside_files)
    detector = load_detector("transformers:./detr", device="cpu")
    about = detector.description()
    assert about["architecture"] == "detr"
    assert about["config"]["method"]["model"] == "./detr"
    assert about["config"]["method"]["revision"] is None


def sha256(*files: Path) -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def test_the_files_of_weights_are_described(outside_files: Path, tmp_path: Path) -> None:
    one = outside_files / "detr"
    about = {"weights": "model.safetensors", "weights_sha256": sha256(one / "model.safetensors")}
    detector = load(one)
    assert describe_outside_weights(detector) == about

    shutil.copytree(one, tmp_path / "bin")
    (tmp_path / "bin" / "model.safetensors").unlink()
    file = tmp_path / "bin" / "pytorch_model.bin"
    torch.save(detector.network.state_dict(), file)
    about = {"weights": "pytorch_model.bin", "weights_sha256": sha256(file)}
    assert describe_outside_weights(load(tmp_path / "bin")) == about

    shutil.copytree(one, tmp_path / "shards")
    (tmp_path / "shards" / "model.safetensors").unlink()
    library.AutoModelForObjectDetection.from_pretrained(one).save_pretrained(
        tmp_path / "shards", max_shard_size="40KB"
    )
    shards = sorted((tmp_path / "shards").glob("model-*.safetensors"))
    assert len(shards) > 1
    about = {"weights": ", ".join(file.name for file in shards), "weights_sha256": sha256(*shards)}
    assert describe_outside_weights(load(tmp_path / "shards")) == about


def test_weights_in_the_cache_of_the_hub_are_described(outside_files: Path, tmp_path: Path) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "hub" / "models--someone--detr"
    shutil.copytree(outside_files / "detr", repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    code = (
        "from megavid import load_detector\n"
        "from megavid.checkpoints.other_libraries import describe_outside_weights\n"
        "detector = load_detector('transformers:someone/detr', device='cpu')\n"
        "print(detector.config.method.revision, *describe_outside_weights(detector).values())"
    )
    printed = run_python(code, HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path))
    assert printed == f"{commit} model.safetensors {sha256(outside_files / 'detr' / 'model.safetensors')}"


def test_weights_for_other_classes_are_refused(outside_files: Path, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    shutil.copytree(outside_files / "detr", folder)
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = {"0": "fox", "1": "hare", "2": "owl", "3": "boar"}
    config["label2id"] = {name: int(label) for label, name in config["id2label"].items()}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=f"transformers:{folder}: "):
        load(folder)


def test_lacking_weights_are_refused(outside_files: Path, tmp_path: Path) -> None:
    folder = tmp_path / "backbone"
    shutil.copytree(outside_files / "detr", folder)
    library.AutoModelForObjectDetection.from_pretrained(folder).model.save_pretrained(tmp_path / "inner")
    shutil.copy(tmp_path / "inner" / "model.safetensors", folder / "model.safetensors")
    with pytest.raises(
        InputError, match=r"expected weights for the whole detector, got none for \d+ tensors"
    ):
        load(folder)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("./nowhere", {}, "transformers:./nowhere: no such folder"),
        (".", {}, "transformers:.: cannot be loaded: "),
        ("detr", {"weights": "x.pth"}, "transformers:detr: expected no file of weights, got x.pth"),
        ("./detr", {"overrides": {"method.window": 3}}, "method.window: unknown key"),
        ("./detr", {"inference": Inference(loose=True)}, "inference.loose: expected false on cpu"),
    ],
)
def test_mistakes_are_explained(
    name: str,
    options: dict[str, Any],
    message: str,
    outside_files: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(outside_files)
    with pytest.raises(InputError, match=message):
        load_detector(f"transformers:{name}", device="cpu", **options)


def run_python(code: str, **environment: str) -> str:
    """Run Python in a process of its own, and return what it prints."""
    variables = {**os.environ, **environment}
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, capture_output=True, text=True, env=variables, check=True)
    return run.stdout.strip()


LOAD = """
from megavid import InputError, load_detector
try:
    load_detector("transformers:PekingU/rtdetr_v2_r18vd", device="cpu")
except InputError as error:
    print(error)
"""


def test_without_a_connection_the_message_says_what_to_do(tmp_path: Path) -> None:
    message = run_python(LOAD, HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path))
    assert message.startswith(
        "transformers:PekingU/rtdetr_v2_r18vd: cannot load it from the Hugging Face hub"
    )
    assert message.endswith("put the repository's files in a folder and give transformers:./FOLDER")
    assert "\n" not in message


def test_a_missing_extra_is_named() -> None:
    block = "import sys; sys.modules['transformers'] = None\n"
    message = run_python(block + LOAD)
    install = "needs the library transformers: pip install transformers"
    assert message == f"transformers:PekingU/rtdetr_v2_r18vd: {install}"


def test_transformers_is_imported_only_when_asked_for() -> None:
    code = (
        "import sys\nfrom megavid import load_detector, FrameDetector\nimport megavid.cli.detect\n"
        "import torchvision.models\n"
        "try:\n    load_detector('torchvision:nothing')\nexcept ValueError:\n    pass\n"
        "print('transformers' in sys.modules)"
    )
    assert run_python(code) == "False"
