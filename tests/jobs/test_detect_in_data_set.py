"""Detection in a data set: complete, interrupted, and with frames that cannot be read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow.parquet as pq
import pytest

from megavid import detect_video
from megavid.core.errors import InputError
from megavid.core.frames import Image
from megavid.datasets.table.annotations import AnnotationBuilder, Annotations
from megavid.datasets.table.problems import Kind, Problems
from megavid.jobs.detect_in_data_set import EvaluateOptions, detect_in_data_set
from megavid.jobs.executors.ranks import Ranks
from megavid.jobs.link_predictions import link_predictions
from megavid.linking.seq_bbox import SeqBboxConfig
from megavid.linking.seq_nms import SeqNmsConfig
from megavid.models.base.video_detector import VideoDetector
from tests.cli.helpers import read_predictions, write_video
from tests.conftest import TINY_METHODS, build_tiny
from tests.video.videos import damage, make_video

MakeFrames = Callable[[int], list[Image]]
LENGTHS = {"b/eins": 4, "a zwei": 1, "drei": 6}
CLASSES = ("square", "disc", "ring")  # not in the detector's order


@pytest.fixture
def data(tmp_path: Path, make_frames: MakeFrames) -> Annotations:
    """Write three videos of images, numbered from 3, with an object in the last frame of each."""
    builder = AnnotationBuilder(CLASSES, root=tmp_path / "data")
    images = make_frames(11)
    for name, length in LENGTHS.items():
        (tmp_path / "data" / name).mkdir(parents=True)
        builder.video(name)
        for number in range(3, 3 + length):
            file = f"{name}/{number:03d}.png"
            PIL.Image.fromarray(images.pop(0)).save(tmp_path / "data" / file)
            builder.frame(number, file=file, width=96, height=64)
        builder.box(1, 2, 30, 40, label=0)
    return builder.build()


@pytest.fixture
def detector() -> VideoDetector:
    return build_tiny("mega")


Detect = Callable[..., bool]


@pytest.fixture
def detect(detector: VideoDetector, data: Annotations, tmp_path: Path) -> Detect:
    """Return a function that detects in the data set, into tmp_path/out, and returns whether it finished."""

    def run(annotations: Annotations = data, **options: Any) -> bool:
        arguments: dict[str, Any] = {"ranks": Ranks(), "metadata": {}, "problems": Problems()}
        arguments |= {key: options.pop(key) for key in list(options) if key in arguments}
        with_detector = options.pop("detector", detector)
        out = options.pop("out", tmp_path / "out")
        return detect_in_data_set(with_detector, annotations, out, EvaluateOptions(**options), **arguments)

    return run


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return read_predictions(folder / "predictions.parquet")[0]


@pytest.mark.parametrize("method", TINY_METHODS)
def test_detections_equal_those_of_each_video(
    detect: Detect, data: Annotations, tmp_path: Path, method: str
) -> None:
    detector = build_tiny(method)
    assert detect(detector=detector, score_threshold=0.1, batch_size=2)
    rows, about = read_predictions(tmp_path / "out" / "predictions.parquet")
    expected = []
    for name in LENGTHS:
        for result in detect_video(detector, tmp_path / "data" / name, score_threshold=0.1, batch_size=2):
            found = result.detections
            for box, score, label in zip(found.boxes, found.scores, found.labels, strict=True):
                values = [float(score), *box.tolist()]
                expected.append((name, result.index + 3, detector.class_names[int(label)], values))
    got = [
        (r["video"], r["frame"], r["class_name"], [r[k] for k in ("score", "x1", "y1", "x2", "y2")])
        for r in rows
    ]
    assert got == expected
    assert len(expected) > 11
    assert rows[0]["file"] == "b/eins/003.png"
    assert about["videos"] == LENGTHS
    assert about["frames"] == 11
    info = about["video_info"]["b/eins"]
    assert info["frame_numbers"] == [[3, 2 + LENGTHS["b/eins"], 1]]
    assert info["width"] == PIL.Image.open(tmp_path / "data" / "b" / "eins" / "003.png").width
    assert about["config"]["method"]["name"] == method
    assert about["options"]["batch_size"] == 2
    assert sorted(p.name for p in (tmp_path / "out" / "parts").iterdir()) == ["run.json"]


def test_an_interrupted_run_continues_with_the_missing_videos(detect: Detect, tmp_path: Path) -> None:
    assert detect(out=tmp_path / "whole")
    images = tmp_path / "data"
    (images / "drei" / "008.png").rename(tmp_path / "last.png")
    with pytest.raises(InputError, match="drei"):
        detect()
    assert not (tmp_path / "out" / "predictions.parquet").exists()
    assert len(list((tmp_path / "out" / "parts").glob("*.parquet"))) == 2
    (tmp_path / "last.png").rename(images / "drei" / "008.png")
    for name in ("b/eins", "a zwei"):
        shutil.rmtree(images / name)  # Detecting in these videos again would fail.
    assert detect()
    assert pq.read_table(tmp_path / "out" / "predictions.parquet").equals(
        pq.read_table(tmp_path / "whole" / "predictions.parquet")
    )
    shutil.rmtree(images)
    assert detect()


def test_an_interrupted_run_with_a_linker_continues(detect: Detect, tmp_path: Path) -> None:
    link = SeqBboxConfig(max_distance=1000)
    assert detect(out=tmp_path / "whole", link=link)
    last = tmp_path / "data" / "drei" / "008.png"
    last.rename(tmp_path / "last.png")
    with pytest.raises(InputError, match="drei"):
        detect(link=link)
    assert len(list((tmp_path / "out" / "parts").glob("*.parquet"))) == 2
    (tmp_path / "last.png").rename(last)
    shutil.rmtree(tmp_path / "data" / "b" / "eins")
    with pytest.raises(InputError, match="different linking"):
        detect(link=SeqNmsConfig())
    assert detect(link=link)
    assert rows_of(tmp_path / "out") == rows_of(tmp_path / "whole")
    assert {row["frame"] for row in rows_of(tmp_path / "out") if row["track"] == 0} >= {3, 4, 5}


def test_only_annotated_frames_of_a_video_file_are_linked(
    detect: Detect, tmp_path: Path, make_frames: MakeFrames
) -> None:
    write_video(tmp_path / "clip.mp4", make_frames(9), rate=Fraction(20))
    builder = AnnotationBuilder(CLASSES, root=tmp_path)
    builder.video("clip", source="clip.mp4")
    for number in (2, 5, 8):
        builder.frame(number)
    data = builder.build()
    assert detect(data, out=tmp_path / "unlinked")
    link_predictions(
        tmp_path / "unlinked" / "predictions.parquet", tmp_path / "linked.parquet", SeqNmsConfig()
    )
    assert detect(data, link=SeqNmsConfig())
    rows = rows_of(tmp_path / "out")
    assert rows == read_predictions(tmp_path / "linked.parquet")[0]
    assert {row["frame"] for row in rows} == {2, 5, 8}


def test_a_run_with_other_settings_in_the_same_folder_is_refused(detect: Detect, tmp_path: Path) -> None:
    assert detect()
    with pytest.raises(InputError, match=r"out: holds parts of a run with different options"):
        detect(seed=5)
    with pytest.raises(InputError, match=r"with different config"):
        detect(detector=build_tiny("rdn"))
    for text, message in (
        ("{", "run.json: expected JSON.*; remove"),
        ("[]", "run.json: expected the settings of a run; remove"),
    ):
        (tmp_path / "out" / "parts" / "run.json").write_text(text)
        with pytest.raises(InputError, match=message):
            detect()
    (tmp_path / "out" / "parts" / "run.json").unlink()
    with pytest.raises(InputError, match=r"predictions.parquet: exists already"):
        detect()


def test_corrected_objects_do_not_require_a_new_run(detect: Detect, data: Annotations) -> None:
    assert detect()
    assert detect(replace(data, labels=data.labels * 0 + 1))
    with pytest.raises(InputError, match="different data"):
        detect(data.select(np.arange(11) != 3))


def test_images_that_cannot_be_read_are_named_or_skipped(
    detect: Detect, data: Annotations, tmp_path: Path
) -> None:
    gone, broken, other = (tmp_path / "data" / "drei" / f"00{i}.png" for i in (4, 6, 7))
    gone.unlink()
    broken.write_bytes(broken.read_bytes()[:100])
    PIL.Image.new("RGB", (50, 40)).save(other)
    with pytest.raises(InputError, match=r"drei/004.png"):
        detect()
    problems = Problems(skip=True)
    assert detect(problems=problems)
    assert [p.kind for p in problems.found] == [Kind.NO_IMAGE, Kind.BAD_IMAGE, Kind.MIXED_SIZES]
    assert "50x40" in str(problems.found[2])
    _, about = read_predictions(tmp_path / "out" / "predictions.parquet")
    assert about["videos"] == {"b/eins": 4, "a zwei": 1, "drei": 3}
    assert {r["frame"] for r in rows_of(tmp_path / "out") if r["video"] == "drei"} == {3, 5, 8}


def test_a_video_without_any_image_is_skipped(detect: Detect, tmp_path: Path) -> None:
    (tmp_path / "data" / "a zwei" / "003.png").unlink()
    assert detect(problems=Problems(skip=True))
    assert {r["video"] for r in rows_of(tmp_path / "out")} == {"b/eins", "drei"}


def test_detections_in_annotated_frames_of_a_video_file(
    detect: Detect, detector: VideoDetector, tmp_path: Path, make_frames: MakeFrames
) -> None:
    path = write_video(tmp_path / "clip.mp4", make_frames(9), rate=Fraction(20))
    builder = AnnotationBuilder(CLASSES, root=tmp_path)
    builder.video("clip", source="clip.mp4")
    for number in (2, 5, 8):
        builder.frame(number)
    assert detect(builder.build())
    expected = {r.index: len(r.detections) for r in detect_video(detector, path) if r.index in (2, 5, 8)}
    got = [row["frame"] for row in rows_of(tmp_path / "out")]
    assert {number: got.count(number) for number in (2, 5, 8)} == expected
    builder.frame(9)
    with pytest.raises(InputError, match=r"clip.mp4, frame 9: the video has 9 frames"):
        detect(builder.build(), out=tmp_path / "two")


def test_damaged_frames_of_a_video_file_are_named_or_skipped(detect: Detect, tmp_path: Path) -> None:
    make_video(tmp_path / "clip.mov", 12, codec="png", pix_fmt="rgb24")
    damage(tmp_path / "clip.mov", [7])
    builder = AnnotationBuilder(CLASSES, root=tmp_path)
    builder.video("clip", source="clip.mov")
    for number in (2, 5):
        builder.frame(number)
    alone = build_tiny("single_frame")
    assert detect(builder.build(), detector=alone, out=tmp_path / "unannotated")
    # MEGA uses the damaged frame, too: as a global frame.
    with pytest.raises(InputError, match=r"clip\.mov: frame 7 is damaged"):
        detect(builder.build(), out=tmp_path / "global")
    builder.frame(7)
    with pytest.raises(InputError, match=r"clip\.mov, frame 7: cannot be decoded"):
        detect(builder.build(), detector=alone, out=tmp_path / "annotated")
    problems = Problems(skip=True)
    assert detect(builder.build(), problems=problems, out=tmp_path / "skipped")
    assert [p.kind for p in problems.found] == [Kind.BAD_IMAGE]


def test_the_classes_of_detector_and_data_set_are_compared(detect: Detect, data: Annotations) -> None:
    with pytest.raises(InputError, match="no class in common"):
        detect(replace(data, classes=("cat", "dog", "cow")))
    with pytest.raises(InputError, match="classes of the data set: the detector has no class 'cat'"):
        detect(replace(data, classes=("cat", "disc", "ring")))
    with pytest.raises(InputError, match="has no class 'Disc'; 'disc' differs by case or blanks only"):
        detect(replace(data, classes=("square", "Disc", "ring")))
    problems = Problems(skip=True)
    assert detect(replace(data, classes=("cat", "disc", "ring")), problems=problems)
    assert [p.where for p in problems.found] == ["classes of the data set", "classes of the detector"]


def test_a_broken_part_is_named(detect: Detect, data: Annotations, tmp_path: Path) -> None:
    assert detect()
    out = tmp_path / "out"
    part = out / "parts" / "000001.parquet"
    (out / "predictions.parquet").rename(part)
    with pytest.raises(InputError, match=r"000001.parquet: expected the frames"):
        detect()


def test_the_batch_size_is_checked() -> None:
    with pytest.raises(InputError, match="batch_size: expected at least 1, got 0"):
        EvaluateOptions(batch_size=0)


def test_the_run_is_recorded(detect: Detect, tmp_path: Path) -> None:
    assert detect(metadata={"weights": "x.pth"})
    run = json.loads((tmp_path / "out" / "parts" / "run.json").read_text())
    assert run["weights"] == "x.pth"
    assert run["options"]["seed"] == 0
