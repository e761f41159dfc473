"""Opening annotations of every format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import PIL.Image
import pytest

from megavid.core.errors import InputError
from megavid.datasets.formats.registry import FORMATS
from megavid.datasets.formats.yolo.yolo_paths import absolute
from megavid.datasets.open import Source, open_annotations, recognize
from megavid.datasets.table.annotations import AnnotationBuilder
from megavid.datasets.table.problems import Problems
from tests.datasets.formats.coco import coco_files
from tests.datasets.formats.cvat import cvat_xml
from tests.datasets.formats.ilsvrc.ilsvrc_set import write_ilsvrc
from tests.datasets.formats.label_studio import label_studio_export
from tests.datasets.formats.mot import mot_files


def make_index(folder: Path) -> Path:
    builder = AnnotationBuilder(("a",), root=folder)
    builder.video("v")
    builder.frame(0)
    builder.build().save(folder / "x.parquet")
    return folder / "x.parquet"


def make_yolo(folder: Path) -> Path:
    PIL.Image.new("RGB", (9, 9)).save(folder / "1.png")
    (folder / "classes.txt").write_text("cat")
    return folder


def make_csv(folder: Path) -> Path:
    (folder / "x.csv").write_text("video,frame,class,x1,y1,x2,y2\nv,0,cat,1,1,5,5\n")
    return folder / "x.csv"


def make_label_studio(folder: Path) -> Path:
    label_studio_export.write_clip(folder / "clip.mp4")
    return label_studio_export.write_export(folder / "x.json", label_studio_export.task())


MAKERS: dict[str, Callable[[Path], Path]] = {
    "index": make_index,
    "ilsvrc": lambda folder: write_ilsvrc(folder, val_videos=1),
    "coco": lambda folder: coco_files.write(folder / "x.json"),
    "mot": lambda folder: mot_files.write(folder / "s", "1,1,1,1,5,5\n"),
    "cvat": lambda folder: cvat_xml.write(folder / "clip.xml", cvat_xml.box(0, 0)),
    "yolo": make_yolo,
    "csv": make_csv,
    "labelstudio": make_label_studio,
}


def make(name: str, folder: Path) -> Path:
    """Write a data set with at least one frame."""
    folder.mkdir()
    return MAKERS[name](folder)


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_is_recognized(tmp_path: Path, name: str) -> None:
    path = make(name, tmp_path / "d")
    assert recognize(path) == name
    assert len(open_annotations(Source(path=path), problems=Problems())) > 0
    assert len(open_annotations(Source(path=path, format=name), problems=Problems())) > 0


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no: no such file or folder"):
        recognize(tmp_path / "no")
    with pytest.raises(InputError, match=r"no known annotations; expected an index \(.parquet\)"):
        recognize(tmp_path)
    with pytest.raises(InputError, match="format: expected one of index, .*, yolo, got 'voc'"):
        open_annotations(Source(path=tmp_path, format="voc"), problems=Problems())


@pytest.mark.parametrize(("name", "option"), [("mot", "subset"), ("index", "classes"), ("ilsvrc", "images")])
def test_options_that_a_format_does_not_have_are_refused(tmp_path: Path, name: str, option: str) -> None:
    path = make(name, tmp_path / "d")
    value = {"subset": "val", "classes": ["a"], "images": tmp_path}[option]
    with pytest.raises(InputError, match=f"{option}: .* has no use for it"):
        open_annotations(Source(path=path, **{option: value}), problems=Problems())  # type: ignore[arg-type]


def test_paths_through_loops_of_links_are_made_absolute(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert absolute(tmp_path / "a" / ".." / "loop" / "x") == tmp_path / "loop" / "x"
