"""The subcommands of `megavid data`."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from megavid.cli import main
from megavid.datasets.formats.coco.read_coco import read_coco
from megavid.datasets.formats.exports import EXPORTS
from megavid.datasets.formats.registry import FORMATS
from megavid.datasets.open import Source, open_annotations
from megavid.datasets.table.annotations import Annotations, load_annotations
from megavid.datasets.table.problems import Problems
from tests.cli.helpers import error_of
from tests.datasets.formats.ilsvrc.ilsvrc_set import write_frame, write_ilsvrc, xml


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_ilsvrc(tmp_path / "ILSVRC2015", train_videos=2, val_videos=3, frames=5, stills=2)


def data(*arguments: object) -> int:
    return main(["data", *map(str, arguments)])


def test_index_writes_all_subsets(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert data("index", tmp_path, "-o", tmp_path / "index", "--workers", 1) == 0
    out = capsys.readouterr().out
    assert "vid_train.parquet: 2 videos, 10 frames, 10 boxes" in out
    assert "vid_val.parquet: 3 videos, 15 frames, 15 boxes" in out
    assert sorted(p.name for p in (tmp_path / "index").iterdir()) == [
        "det_train.parquet",
        "vid_train.parquet",
        "vid_val.parquet",
    ]
    table = load_annotations(tmp_path / "index" / "vid_val.parquet")
    assert Path(table.describe(0)).exists()


def test_index_of_one_subset_and_of_another_format(root: Path, tmp_path: Path) -> None:
    assert data("index", root, "-o", tmp_path / "i", "--subset", "vid_val", "--workers", 1) == 0
    assert data("export", tmp_path / "i" / "vid_val.parquet", "--as", "coco", "-o", root / "val.json") == 0
    assert data("index", root / "val.json", "-o", tmp_path / "i") == 0
    one, two = (load_annotations(tmp_path / "i" / name) for name in ("vid_val.parquet", "val.parquet"))
    assert one.boxes.tolist() == two.boxes.tolist()
    assert one.tracks.tolist() == two.tracks.tolist()
    assert one.files.to_pylist() == two.files.to_pylist()


def test_interrupted_index_is_resumed(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(table: Annotations, path: Path) -> None:
        if path.name == "vid_val.parquet":
            raise KeyboardInterrupt
        save(table, path)

    save = Annotations.save
    arguments = ("index", root, "-o", tmp_path / "i", "--workers", 1)
    with monkeypatch.context() as patch:
        patch.setattr(Annotations, "save", interrupt)
        assert data(*arguments) == 130
    assert "interrupted; the same command resumes the run" in capsys.readouterr().err
    assert (tmp_path / "i" / "vid_train.parquet").exists()
    assert not (tmp_path / "i" / "vid_val.parquet").exists()
    for path in (root / "Annotations").rglob("*.xml"):
        path.write_text("<x")  # the next command must not read these files again
    assert data(*arguments, "--subset", "vid_train") == 0
    assert "10 frames, 10 boxes" in capsys.readouterr().out


def test_repaired_files_are_read_again(root: Path, tmp_path: Path) -> None:
    stem = "val/ILSVRC2015_val_00000001/000003"
    path = root / "Annotations/VID" / f"{stem}.xml"
    good = path.read_text()
    path.write_text("<x")
    arguments = ("index", root, "-o", tmp_path / "i", "--subset", "vid_val", "--workers", 1)
    assert data(*arguments) == 2
    path.write_text(good)
    assert data(*arguments) == 0
    assert len(load_annotations(tmp_path / "i" / "vid_val.parquet").boxes) == 15


def test_invalid_data_are_refused_or_skipped(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = "val/ILSVRC2015_val_00000001/000003"
    write_frame(root, "VID", bad, xml([("n0", 0, (1, 1, 2, 2))]))
    fixed = ("index", root, "-o", tmp_path / "i", "--subset", "vid_val", "--workers", 1)
    assert data(*fixed) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("megavid: error: ")
    assert f"{bad}.xml, object 1: no class is called 'n0'" in error
    assert not (tmp_path / "i" / "vid_val.parquet").exists()
    assert data(*fixed, "--skip-bad") == 0
    captured = capsys.readouterr()
    assert "15 frames, 14 boxes" in captured.out
    assert "skipped: 1 x unknown class (such as " in captured.err


def test_check_prints_all_problems(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert data("check", root) == 0
    assert "nothing is wrong" in capsys.readouterr().out
    (root / "Data/VID/val/ILSVRC2015_val_00000001/000003.JPEG").unlink()
    write_frame(root, "VID", "val/ILSVRC2015_val_00000002/000001", "<x")
    write_frame(root, "VID", "val/ILSVRC2015_val_00000002/000002", xml([("n02958343", 0, (0, 0, 200, 20))]))
    assert data("check", root) == 1
    out = capsys.readouterr().out
    for line in (
        "unreadable annotations: ",
        "missing image: ",
        "box outside the frame: ",
        "gap between frames: ",
        "1 x missing image",
        "3 videos, 14 frames, 14 boxes",
    ):
        assert line in out


def test_check_of_a_data_set_without_frames(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "boxes.csv").write_text("video,frame,class,x1,y1,x2,y2\n")
    assert main(["data", "check", str(tmp_path / "boxes.csv")]) == 1
    said = capsys.readouterr().out
    assert "there is nothing to check: expected frames" in said
    assert "nothing is wrong" not in said


def test_videos_without_images_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(7):
        (tmp_path / f"{number}.xml").write_text(
            "<annotations><meta><task><size>3</size></task></meta></annotations>"
        )
    (tmp_path / "clip.mp4").touch()
    assert data("index", tmp_path, "--format", "cvat", "-o", tmp_path / "i") == 0
    lines = capsys.readouterr().err.splitlines()
    expected = (
        "megavid: warning: video '0': no images found: expected a video or a folder of images called 0 in"
    )
    assert lines[0] == f"{expected} {tmp_path}, which has 0.xml, 1.xml, 2.xml, 3.xml, 4.xml and 4 more"
    assert lines[5:] == ["megavid: 2 more warnings; `megavid data check` prints them"]
    assert data("check", tmp_path) == 1
    out = capsys.readouterr().out
    assert out.count(": no images found: ") == 7
    assert "7 x missing image" in out


def test_check_writes_a_sheet(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sheet = tmp_path / "sheet.jpg"
    main(["data", "check", str(root), "--subset", "vid_val", "--sheet", str(sheet)])
    assert f"  {sheet}\n" in capsys.readouterr().out
    with PIL.Image.open(sheet) as picture:
        assert picture.width == 8 * 240
    assert main(["data", "check", str(root), "--sheet", str(tmp_path / "sheet.txt")]) == 2
    assert "expected a name that ends in .jpg" in error_of(capsys)
    mine = tmp_path / "mine.jpg"
    PIL.Image.new("RGB", (8, 8)).save(mine)
    assert main(["data", "check", str(root), "--subset", "vid_val", "--sheet", str(mine)]) == 2
    with PIL.Image.open(mine) as picture:
        assert picture.size == (8, 8)


def test_stats_are_printed_and_written(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert data("stats", root, "-o", tmp_path / "s") == 0
    out = capsys.readouterr().out
    assert "3 videos of 5 to 5 frames" in out
    assert "15 of 96x64" in out
    about = json.loads((tmp_path / "s" / "stats.json").read_text())
    assert about["boxes"] == 15
    assert (tmp_path / "s" / "stats.png").read_bytes().startswith(b"\x89PNG")
    assert data("stats", root, "--subset", "det_train") == 0
    assert "fast" in capsys.readouterr().out


def test_class_names_are_printed_as_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    PIL.Image.new("RGB", (64, 48)).save(tmp_path / "0.png")
    name = "[red]fox[/] \x1b[31m"
    path = tmp_path / "a.json"
    write_coco(path, name)
    assert data("stats", path, "-o", tmp_path / "s") == 0
    assert data("check", path) == 1  # the check reports that both classes look alike
    out = capsys.readouterr().out
    assert r"[red]fox[/] \x1b[31m" in out
    assert "\x1b" not in out
    assert name in json.loads((tmp_path / "s" / "stats.json").read_text())["classes"]


def write_coco(path: Path, *names: str) -> None:
    """Write COCO annotations of 0.png: each name and its upper-case form are classes with one object."""
    both = [text for name in names for text in (name, name.upper())]
    content = {
        "images": [{"id": 1, "file_name": "0.png", "width": 64, "height": 48}],
        "categories": [{"id": i, "name": name} for i, name in enumerate(both)],
        "annotations": [
            {"id": i, "image_id": 1, "category_id": i, "bbox": [i, 1, 9, 9]} for i in range(len(both))
        ],
    }
    path.write_text(json.dumps(content))


def test_stats_print_only_the_most_frequent_of_many_classes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"class {i}" for i in range(20_000)]
    categories = [{"id": i, "name": name} for i, name in enumerate(names)]
    images = [{"id": 1, "file_name": "0.png"}]
    objects = [{"image_id": 1, "category_id": 19_999, "bbox": [1, 1, 9, 9]}]
    content = {"images": images, "categories": categories, "annotations": objects}
    (tmp_path / "a.json").write_text(json.dumps(content))
    assert data("stats", tmp_path / "a.json") == 0
    out = capsys.readouterr().out
    assert "class 19999" in out
    assert "19800 more classes" in out


def test_export_to_cocovid_and_yolo(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert data("export", root, "--as", "yolo", "-o", tmp_path / "y", "--tracks") == 0
    label = tmp_path / "y/labels/val/ILSVRC2015_val_00000001/000002.txt"
    # This is the fourth video of the data set, and its objects have the fourth class.
    assert label.read_text().split()[0] == "3"
    assert label.read_text().split()[5] == "0"
    assert data("export", root, "--as", "coco", "-o", tmp_path / "x.json", "--tracks") == 2
    assert "--tracks: expected --as yolo" in capsys.readouterr().err
    assert data("export", root, "--as", "coco", "-o", tmp_path / "x.json") == 0
    assert len(read_coco(tmp_path / "x.json", problems=Problems())) == 15


@pytest.mark.parametrize("form", ["cvat", "mot"])
def test_export_of_tracks(root: Path, tmp_path: Path, form: str) -> None:
    assert data("export", root, "--as", "coco", "-o", tmp_path / "x.json") == 0
    assert data("export", root, "--as", form, "-o", tmp_path / "out") == 0
    read = open_annotations(Source(path=tmp_path / "out"), problems=Problems())
    expected = read_coco(tmp_path / "x.json", problems=Problems())
    assert len(read.videos) == len(expected.videos)
    assert (len(read), len(read.boxes)) == (len(expected), len(expected.boxes))
    assert np.sort(read.boxes, axis=0) == pytest.approx(np.sort(expected.boxes, axis=0), abs=1e-3)
    names = [[a.classes[label] for label in a.labels.tolist()] for a in (read, expected)]
    assert sorted(names[0]) == sorted(names[1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("stats", "{}/none"), "none: no such file or folder"),
        (("stats", "{}"), "no known annotations; expected an index"),
        (("index", "{}/ILSVRC2015", "-o", "{}/i", "--subset", "x"), "subset: expected one of vid_train"),
        (("stats", "{}/ILSVRC2015", "--images", "{}"), "images: .* has no use for it"),
        (("index", "{}/ILSVRC2015", "-o", "{}/i", "--images", "{}"), "images: .* has no use for it"),
        (("index", "{}/ILSVRC2015", "-o", "{}/file/x"), "file/x: cannot be written to"),
        (
            ("index", "{}/ILSVRC2015", "-o", "{}/file"),
            "file: cannot be written to: expected a folder",
        ),
        (
            ("index", "{}/ILSVRC2015", "-o", "{}/x.parquet"),
            "x.parquet: expected a folder to write to",
        ),
        (("stats", "{}/ILSVRC2015", "-o", "{}/x.png"), "x.png: expected a folder to write to"),
        (("stats", "{}/file.parquet"), "file.parquet: cannot be read as an index"),
        (
            ("stats", "{}/file.parquet", "--method.window", "3"),
            "--method.window: megavid data has no such option",
        ),
    ],
)
def test_mistakes_are_explained(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "file.parquet").write_text("no")
    if arguments[1] == "{}":
        root.rename(tmp_path / "other")
    assert data(*(argument.format(tmp_path) for argument in arguments)) == 2
    assert re.search(message, error_of(capsys))


def test_synthesize_writes_a_set_and_a_contact_sheet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "set"
    size = ["--width", "96", "--height", "72", "--frames", "9"]
    assert main(["data", "synthesize", str(out), "--videos", "3", *size]) == 0
    assert "3 videos of 9 frames" in capsys.readouterr().out
    with PIL.Image.open(out / "contact_sheet.jpg") as sheet:
        assert sheet.size == (8 * 240, 5 * 180)  # five classes in two videos
    assert main(["data", "stats", str(out), "--subset", "vid_train"]) == 0
    assert "3 videos of 9 to 9 frames" in capsys.readouterr().out
    assert main(["data", "synthesize", str(out)]) == 2
    assert "expected an empty folder or none" in capsys.readouterr().err
    assert main(["data", "synthesize", str(tmp_path / "none"), "--videos", "0"]) == 2
    assert "videos: expected at least 1, got 0" in capsys.readouterr().err


def test_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    # The order of Python's sets depends on the hash seed.
    lines = [
        ["data", "synthesize", "set", "--videos", "2", "--frames", "2", "--workers", "1"],
        ["data", "index", "set", "-o", "index", "--workers", "1"],
        ["data", "export", "index/vid_train.parquet", "--as", "coco", "-o", "a.json"],
    ]
    code = f"from megavid.cli import main\nfor line in {lines}: assert main(line) == 0"
    found = []
    for seed in ("1", "2"):
        place = tmp_path / "place"
        place.mkdir()
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        script = "import sys\nif __name__ == '__main__':\n    " + code.replace("\n", "\n    ")
        (tmp_path / "script.py").write_text(script)
        subprocess.run([sys.executable, str(tmp_path / "script.py")], cwd=place, env=environment, check=True)
        files = sorted(path for path in place.rglob("*") if path.is_file())
        found.append({path.relative_to(place): path.read_bytes() for path in files})
        shutil.rmtree(place)
    assert found[0] == found[1]
    assert len(found[0]) == 12  # 4 images, 4 annotations, classes, contact sheet, index, a.json


def test_help_lists_all_formats(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("stats", "export"):
        with pytest.raises(SystemExit):
            main(["data", command, "--help"])
    text = "".join(capsys.readouterr().out.split())
    assert "|".join(FORMATS) in text
    assert "{" + ",".join([*EXPORTS, "cocovid"]) + "}" in text
