"""Fuzz targets: every reader of files, with small valid inputs to mutate."""

from __future__ import annotations

import json
import pickle
from collections import deque
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from random import Random

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.io
import torch
import yaml

from megavid.checkpoints.backbone_weights import read_backbone
from megavid.checkpoints.load import load_detector
from megavid.checkpoints.weights import write_weights
from megavid.core.config import read_mapping, validate
from megavid.core.errors import InputError
from megavid.core.files.storage import Storage
from megavid.datasets.check import check_annotations
from megavid.datasets.formats.box_csv.write_box_csv import write_box_csv
from megavid.datasets.formats.coco.write_cocovid import write_cocovid
from megavid.datasets.formats.label_studio.write_label_studio import write_label_studio
from megavid.datasets.formats.yolo.write_yolo import write_yolo
from megavid.datasets.motion import motion_iou, read_motion_mat
from megavid.datasets.open import Source, open_annotations
from megavid.datasets.stats import compute_stats
from megavid.datasets.table.annotations import Annotations
from megavid.datasets.table.problems import Problems
from megavid.evaluation.formats.parquet_table import write_parquet
from megavid.evaluation.formats.prediction_files import open_predictions, write_predictions
from megavid.evaluation.formats.saved_video import read_saved_video
from megavid.evaluation.locate import locate
from megavid.jobs.archive.archive_folder import ArchiveFolder
from megavid.jobs.archive.archive_records import DoneRecord, FailRecord
from megavid.jobs.archive.manifest import list_videos
from megavid.jobs.archive.segments import ListedVideo
from megavid.training.recipe import Recipe
from megavid.video.image_folder import ImageFolder
from megavid.video.image_pages import ImagePages
from megavid.video.open_input import open_input
from megavid.video.video_file import VideoFile
from tests.conftest import build_tiny
from tests.datasets.formats.cvat.cvat_export import write_cvat_export
from tests.datasets.formats.ilsvrc.ilsvrc_set import write_ilsvrc
from tests.evaluation.generated import noisy_predictions, write_data_set
from tests.fuzz.worker import Target
from tests.mutations import mutated_bytes, mutated_json
from tests.video.videos import make_video, picture

FRAMES = 12
"""Number of frames read from a damaged video."""


def _change_one(folder: Path, pattern: str, random: Random) -> Path:
    """Mutate one file that matches a pattern: its bytes or, half of the time if it is JSON, its values."""
    path = random.choice(sorted(p for p in folder.glob(pattern) if p.is_file()))
    content = path.read_bytes()
    is_json = path.suffix == ".json" and random.random() < 0.5
    path.write_bytes(mutated_json(json.loads(content), random) if is_json else mutated_bytes(content, random))
    return path


def _read_annotations(folder: Path, random: Random, *, format_name: str, path: str, pattern: str) -> None:
    """Open annotations and use them as `data check`, `data stats` and `data index` do."""
    _change_one(folder, pattern, random)
    problems = Problems(skip=random.random() < 0.7)
    source = Source(path=folder / path, format=random.choice((None, format_name)))
    table = open_annotations(source, problems=problems)
    list(check_annotations(table))
    compute_stats(table)
    motion_iou(table)
    table.save(folder / "again.parquet")
    again = open_annotations(Source(path=folder / "again.parquet"), problems=Problems())
    assert np.array_equal(again.boxes, table.boxes)
    assert np.array_equal(again.number, table.number)
    assert all(map(_is_encodable, table.videos)), "a video name that cannot be encoded"


def _is_encodable(name: str) -> bool:
    return name.encode("utf-8", "ignore").decode() == name


def _annotations(
    name: str, make: Callable[[Path], object], *, path: str = "set", pattern: str = "set/**/*"
) -> Target:
    run = partial(_read_annotations, format_name=name, path=path, pattern=pattern)
    return Target(name, make, run)


def _data_set(folder: Path) -> Annotations:
    return write_data_set(folder / "set", videos=2, frames=3, height=48, width=64)


def _coco(folder: Path) -> None:
    write_cocovid(_data_set(folder), folder / "set" / "a.json")


def _box_csv(folder: Path) -> None:
    write_box_csv(_data_set(folder), folder / "set" / "a.csv")


def _label_studio(folder: Path) -> None:
    data = _data_set(folder)
    write_label_studio(data, folder / "set" / "a.json")
    tasks = json.loads((folder / "set" / "a.json").read_text())
    tasks[0]["annotations"] = tasks[0].pop("predictions")
    for number, task in enumerate(tasks):
        make_video(folder / "set" / f"{number}.mp4", 3)
        task["data"]["video"] = f"/data/upload/1/0a1b2c3d-{number}.mp4"
    (folder / "set" / "a.json").write_text(json.dumps(tasks))


def _yolo(folder: Path) -> None:
    data = write_data_set(folder / "source", videos=2, frames=3, height=48, width=64)
    write_yolo(data, folder / "set", tracks=True, problems=Problems())
    about = folder / "set" / "data.yaml"
    # Make the path relative, since trials use a copy of the folder.
    about.write_text(about.read_text().replace(str(folder.absolute() / "set"), "."))


def _index(folder: Path) -> None:
    _data_set(folder).save(folder / "set" / "a.parquet")


def _mot(folder: Path) -> None:
    sequence = folder / "set"
    (sequence / "gt").mkdir(parents=True)
    (sequence / "img1").mkdir()
    (sequence / "gt" / "gt.txt").write_text(
        "".join(f"{f},{t},{10 * t},12,20,16,1,{t},1.0\n" for f in (1, 2, 3) for t in (1, 2))
    )
    (sequence / "gt" / "labels.txt").write_text("fox\nbadger\n")
    (sequence / "seqinfo.ini").write_text(
        "[Sequence]\nname=set\nimDir=img1\nframeRate=25\nseqLength=3\nimWidth=64\nimHeight=48\nimExt=.png\n"
    )
    for number in (1, 2, 3):
        PIL.Image.new("RGB", (64, 48), (number, 0, 0)).save(sequence / "img1" / f"{number:06d}.png")


def _predictions(folder: Path) -> None:
    data = _data_set(folder)
    data.save(folder / "truth.parquet")
    for suffix in (".parquet", ".pth", ".txt", ".json"):
        write_predictions(noisy_predictions(data), data, folder / f"p{suffix}", problems=Problems())


def _read_predictions(folder: Path, random: Random) -> None:
    path = _change_one(folder, "p.*", random)
    data = open_annotations(Source(path=folder / "truth.parquet"), problems=Problems())
    problems = Problems(skip=random.random() < 0.7)
    found = open_predictions(path, data, problems=problems)
    locate(found, data, problems=problems)
    assert np.isfinite(found.boxes).all()
    assert np.isfinite(found.scores).all()


def _saved_boxes(folder: Path) -> None:
    (folder / "boxes.txt").write_text("".join(f"{f},-1,5,6,20,16,0.5,{t}\n" for f in (1, 2) for t in (1, 2)))
    image = {"id": 3, "video_id": 1, "frame_id": 0, "file_name": "0.png", "width": 64, "height": 48}
    box = {"id": 1, "image_id": 3, "category_id": 2, "bbox": [5, 6, 20, 16], "score": 0.5}
    about = {
        "videos": [{"id": 1, "name": "a"}],
        "images": [image],
        "categories": [{"id": 2, "name": "fox"}],
        "annotations": [box],
    }
    (folder / "boxes.json").write_text(json.dumps(about))
    del about["videos"]  # plain COCO
    (folder / "boxes_of_images.json").write_text(json.dumps(about))
    write_parquet(noisy_predictions(_data_set(folder)), folder / "boxes.parquet")


def _read_saved_boxes(folder: Path, random: Random) -> None:
    path = _change_one(folder, "boxes*", random)
    names = ("fox", "hare") if path.suffix == ".txt" else None
    video = "clip 0" if path.suffix == ".parquet" else None
    found = read_saved_video(path, class_names=names, video=video, first_frame=random.choice((None, 0, 1)))
    assert np.isfinite(found.table.boxes).all()
    assert (found.table.frame >= 0).all()


def _weights(folder: Path) -> None:
    detector = build_tiny("single_frame")
    config = detector.config.model_dump(mode="json")
    write_weights(folder / "w.safetensors", detector.state_dict(), config=config, about={"licence": "none"})
    torch.save({"model": {"a.weight": torch.zeros(3, 3)}}, folder / "w.pth")
    blobs = {"conv1_w": np.zeros((4, 3, 7, 7), np.float32), "res_conv1_bn_s": np.ones(4, np.float32)}
    (folder / "b.pkl").write_bytes(pickle.dumps({"blobs": blobs}, protocol=2))
    cells = np.empty((2, 1), object)
    cells[0, 0], cells[1, 0] = np.array([[0.5]]), np.array([[0.7], [0.9]])
    scipy.io.savemat(folder / "m.mat", {"motion_iou": cells})
    _data_set(folder).save(folder / "truth.parquet")


def _read_weights(folder: Path, random: Random) -> None:
    path = _change_one(folder, "[wbm].*", random)
    if path.suffix == ".mat":
        data = open_annotations(Source(path=folder / "truth.parquet"), problems=Problems())
        read_motion_mat(path, data)
    elif path.suffix == ".pkl":
        read_backbone(path, mean=(0.0, 0.0, 0.0))
    else:
        model = "single_frame_r50" if path.suffix == ".pth" else None
        load_detector(model, weights=path, device="cpu", inference=None)


def _recipe(folder: Path) -> None:
    recipe = {
        "model": "mega_r50",
        "data": {"train": [{"path": "a.json"}], "val": {"path": "b.json"}},
        "optimizer": {"learning_rate": 0.01, "milestones": [5]},
        "run": {"steps": 10, "batch": 2},
        "settings": {"method.window": 3},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    (folder / "recipe.json").write_text(json.dumps(recipe))  # JSON is also YAML


def _read_recipe(folder: Path, random: Random) -> None:
    path = _change_one(folder, "recipe.*", random)
    validate(Recipe, read_mapping(path), origin=str(path))


def _media(folder: Path) -> None:
    for name, codec in (
        ("a.mp4", "libx264"),
        ("a.avi", "mpeg4"),
        ("a.mkv", "libx264"),
        ("a.ts", "mpeg2video"),
    ):
        make_video(folder / name, 6, codec=codec)
    images = [PIL.Image.fromarray(picture(i)) for i in range(4)]
    for suffix in ("jpg", "png", "bmp", "webp", "tif", "ppm"):
        images[0].save(folder / f"still.{suffix}")
    for suffix in ("gif", "webp", "png", "tif"):
        images[0].save(folder / f"moving.{suffix}", save_all=True, append_images=images[1:])


def _read_media(folder: Path, random: Random) -> None:
    path = _change_one(folder, "*", random)
    with closing(open_input(path)) as video:
        deque(islice(video, FRAMES), maxlen=0)
        assert isinstance(video, VideoFile | ImageFolder | ImagePages)
        for index in (0, len(video) - 1):
            with suppress(InputError):
                video[index]


def _archive(folder: Path) -> None:
    rows = {"path": ["a.mp4", "b/c.mp4"], "camera": ["north", "south"]}
    (folder / "list.txt").write_text("a.mp4\nb/c.mp4\n")
    (folder / "list.csv").write_text("path,camera\na.mp4,north\nb/c.mp4,south\n")
    pq.write_table(pa.table(rows), folder / "list.parquet")
    archive = ArchiveFolder(Storage.open(folder / "out"))
    archive.begin({"detector": {"method": "mega"}})
    video = ListedVideo("/a.mp4", 7, "1")
    archive.commit("a" * 32, folder / "list.txt", DoneRecord(video, 0, 9, 9, 1, {"car": 1}, 1.0, "w", 0, 2.0))
    archive.fail("b" * 32, FailRecord(video, 9, None, "video", "broken", "w", 1, 2.0))
    archive.set_length("c" * 32, 18)


def _read_archive(folder: Path, random: Random) -> None:
    path = _change_one(folder, "**/*.*", random)
    if path.stem == "list":
        list_videos(path)
    archive = ArchiveFolder(Storage.open(folder / "out"))
    assert archive.done_ids() == {"a" * 32}
    assert len(list(archive.records())) == 1
    archive.failures()
    archive.lengths()
    archive.begin({"detector": {"method": "mega"}})


TARGETS = [
    _annotations("coco", _coco, path="set/a.json", pattern="set/a.json"),
    _annotations("yolo", _yolo),
    _annotations("csv", _box_csv, path="set/a.csv", pattern="set/a.csv"),
    _annotations("labelstudio", _label_studio, path="set/a.json", pattern="set/a.json"),
    _annotations("mot", _mot),
    _annotations(
        "cvat",
        lambda folder: write_cvat_export(folder / "set", names=("a", "b"), frames=3),
        pattern="set/*.xml",
    ),
    _annotations(
        "ilsvrc",
        lambda folder: write_ilsvrc(folder / "set", val_videos=2, frames=2),
        pattern="set/Annotations/**/*.xml",
    ),
    _annotations("index", _index, path="set/a.parquet", pattern="set/a.parquet"),
    Target("predictions", _predictions, _read_predictions),
    Target("saved boxes", _saved_boxes, _read_saved_boxes),
    Target("weights", _weights, _read_weights),
    Target("archive", _archive, _read_archive),
    Target("recipe", _recipe, _read_recipe),
    Target("media", _media, _read_media),
]
"""The fuzz targets of all readers."""
