"""Training on data sets of several formats, and the clips that are read from them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

from megavid import load_detector
from megavid.core.errors import InputError
from megavid.core.reference_plans import ReferenceGroup, TrainingPlan
from megavid.datasets.clip_order import ClipOrder
from megavid.datasets.formats.box_csv.write_box_csv import write_box_csv
from megavid.datasets.formats.coco.write_cocovid import write_cocovid
from megavid.datasets.formats.label_studio.write_label_studio import write_label_studio
from megavid.datasets.synthetic.camera import film
from megavid.datasets.synthetic.scene import CLASSES
from megavid.datasets.table.annotations import AnnotationBuilder, Annotations, load_annotations
from megavid.training.clips.clip_reader import ClipReader
from megavid.video.images import read_image
from megavid.video.video_writer import VideoWriter
from tests.conftest import build_tiny, network_input
from tests.datasets.formats.ilsvrc.ilsvrc_set import write_ilsvrc
from tests.training.small_run import numbers, recipe_values, train, write_recipe
from tests.video.videos import damage, make_video


def test_training_on_stills_and_videos_of_imagenet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_ilsvrc(tmp_path / "ILSVRC2015", train_videos=2, val_videos=1, frames=5, stills=3)
    values = recipe_values(root)
    values["data"] = {
        "train": [{"path": str(root), "subset": "vid_train"}, {"path": str(root), "subset": "det_train"}],
        "val": {"path": str(root), "subset": "vid_val"},
    }
    assert train(write_recipe(tmp_path / "recipe.yaml", values), tmp_path / "run") == 0
    assert "30 classes, 13 frames to train on" in capsys.readouterr().out
    assert [line["step"] for line in numbers(tmp_path / "run")] == [1, 2, 3, 4, 5, 6, 6]


def test_training_on_cocovid_with_other_classes(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = load_annotations(data)
    own = replace(table, classes=("fox", "badger", "deer", "owl", "hare", "boar"))
    write_cocovid(own, tmp_path / "own.json")
    values = recipe_values(data)
    part = {"path": str(tmp_path / "own.json"), "images": str(data.parent)}
    values["data"] = {"train": [part], "val": {**part}}  # a copy: the same object would become a YAML alias
    assert train(write_recipe(tmp_path / "recipe.yaml", values), tmp_path / "run") == 0
    detector = load_detector(weights=tmp_path / "run" / "model.safetensors", device="cpu")
    assert detector.class_names == own.classes


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("index.parquet", Annotations.save),
        ("tasks.json", write_label_studio),
        ("boxes.csv", write_box_csv),
    ],
)
def test_training_on_video_files(
    tmp_path: Path, name: str, write: Callable[[Annotations, Path], None]
) -> None:
    frames = list(film(seed=0, video=1, frames=12, height=64, width=96))
    with VideoWriter(tmp_path / "clip.mp4", rate=Fraction(25), width=96, height=64) as writer:
        for t, frame in enumerate(frames):
            writer.write(frame.image, t / 25)
    builder = AnnotationBuilder(CLASSES, root=tmp_path)
    builder.video("clip", source="clip.mp4")
    for t, frame in enumerate(frames):
        builder.frame(t, width=96, height=64)
        for box, label, track in zip(frame.boxes.tolist(), frame.labels, frame.tracks, strict=True):
            builder.box(*box, label=int(label), track=int(track))
    write(builder.build(), tmp_path / name)
    recipe = write_recipe(tmp_path / "recipe.yaml", recipe_values(tmp_path / name))
    assert train(recipe, tmp_path / "run") == 0
    assert numbers(tmp_path / "run")[-1]["AP50"] >= 0


def test_boxes_of_a_clip_are_scaled_and_mirrored(data: Path) -> None:
    """Check that boxes are in pixels of the network's input, and are mirrored with the image."""
    plan = TrainingPlan((ReferenceGroup(name="local", count=2, low=-3, high=3),))
    # The network's input is 1.5 times as large as a frame.
    detector = build_tiny("rdn", **{"input.min_size": 96, "input.max_size": 144})
    table = load_annotations(data)
    read = {flip: ClipReader(ClipOrder([table], plan, seed=0, flip=flip))[0] for flip in (0.0, 1.0)}
    plain, mirrored = (read[flip].ready(detector) for flip in (0.0, 1.0))
    key = ClipOrder([table], plan, seed=0, flip=0.0)[0]
    rows = slice(*table.offsets[key.key : key.key + 2])
    # Inclusive coordinates are scaled, as in the original.
    expected = (table.boxes[rows] - [0, 0, 1, 1]) * 1.5 + [0, 0, 1, 1]
    np.testing.assert_allclose(plain.boxes, expected, atol=1e-4)
    assert plain.labels.tolist() == table.labels[rows].tolist()
    assert torch.equal(mirrored.images, plain.images.flip(3))
    width = plain.images.shape[3]
    torch.testing.assert_close(mirrored.boxes[:, [0, 2]], width - plain.boxes[:, [2, 0]])
    image = read_image(data.parent / table.files[key.key].as_py())
    assert torch.equal(plain.images[:1], network_input(detector, [image]))
    assert len(plain.images) == len({0, *plain.references["local"]})


def test_a_damaged_video_frame_is_an_error(tmp_path: Path) -> None:
    make_video(tmp_path / "clip.mov", 12, codec="png", pix_fmt="rgb24")
    damage(tmp_path / "clip.mov", [7])
    builder = AnnotationBuilder(CLASSES, root=tmp_path)
    builder.video("clip", source="clip.mov")
    for number in (6, 7):
        builder.frame(number, width=64, height=48)
        builder.box(1, 2, 30, 40, label=0)
    detector = build_tiny("single_frame")
    order = ClipOrder([builder.build()], detector.training_plan, seed=0, flip=0.0)
    reader = ClipReader(order)
    for i in range(2):
        if order[i].key == 0:
            reader[i]
            continue
        with pytest.raises(InputError, match=r"clip\.mov: frame 7 is damaged"):
            reader[i]


def test_difficult_and_narrow_objects_are_left_out(data: Path) -> None:
    table = load_annotations(data)
    key = ClipOrder([table], build_tiny("single_frame").training_plan, seed=0, flip=0.0)[0].key
    rows = slice(*table.offsets[key : key + 2])

    def learnt(boxes: np.ndarray[Any, Any], difficult: np.ndarray[Any, Any]) -> int:
        order = ClipOrder(
            [replace(table, boxes=boxes, difficult=difficult)],
            build_tiny("single_frame").training_plan,
            seed=0,
            flip=0.0,
        )
        reader = ClipReader(order)
        [found] = [clip for i in range(len(order)) if order[i].key == key for clip in [reader[i]]]
        assert len(found.boxes) == len(found.labels)
        return len(found.boxes)

    none = np.zeros(len(table.boxes), np.bool_)
    assert learnt(table.boxes, none) == rows.stop - rows.start > 1
    crowd = none.copy()
    crowd[rows.start] = True
    assert learnt(table.boxes, crowd) == rows.stop - rows.start - 1
    sliver = table.boxes.copy()
    sliver[rows.start] = (10, 10, 10.5, 40)
    assert learnt(sliver, none) == rows.stop - rows.start - 1


def test_frames_of_several_sizes_are_an_error(data: Path, tmp_path: Path) -> None:
    table = load_annotations(data)
    folder = tmp_path / "copy"
    shutil.copytree(data.parent, folder)
    PIL.Image.new("RGB", (50, 40)).save(folder / "clip_0" / "000003.png")
    order = ClipOrder([replace(table, root=folder)], build_tiny("rdn").training_plan, seed=0)
    reader = ClipReader(order)
    with pytest.raises(InputError, match=r"clip_0.000003.png|frames of one size"):
        [reader[i] for i in range(60)]
