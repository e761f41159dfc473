"""Writing contact sheets of data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from megavid.core.errors import InputError
from megavid.datasets.table.annotations import AnnotationBuilder, Annotations
from megavid.reports.contact_sheet import check_picture, write_contact_sheet

TILE = 240, 180
CAT, DOG = (400, 300, 430, 330), (0, 0, 900, 700)


def data_set(folder: Path, objects: list[tuple[int, tuple[int, int, int, int]]]) -> Annotations:
    """Make a video of black 960x720 frames; each has a white object of the given class and box."""
    folder.mkdir(exist_ok=True)
    builder = AnnotationBuilder(("cat", "dog", "none"), root=folder)
    builder.video("clip")
    for number, (label, box) in enumerate(objects):
        image = np.zeros((720, 960, 3), np.uint8)
        image[box[1] : box[3], box[0] : box[2]] = 255
        PIL.Image.fromarray(image).save(folder / f"{number}.png")
        builder.frame(number, file=f"{number}.png", width=960, height=720)
        builder.box(*box, label=label)
    return builder.build()


def tiles(path: Path, rows: int) -> np.ndarray[Any, Any]:
    """Cut a contact sheet into its tiles: an array of shape (rows, 8, 180, 240, 3)."""
    sheet = np.asarray(PIL.Image.open(path).convert("RGB"))
    assert sheet.shape == (rows * TILE[1], 8 * TILE[0], 3)
    return sheet.reshape(rows, TILE[1], 8, TILE[0], 3).swapaxes(1, 2)


def test_a_row_for_each_class_with_objects(tmp_path: Path) -> None:
    data = data_set(tmp_path / "a", [(0, CAT), (1, DOG)])
    write_contact_sheet({"": data}, tmp_path / "sheet.png")
    cats, dogs = tiles(tmp_path / "sheet.png", 2)
    # A small object is not scaled: its 30 x 30 pixels are in the middle of the tile.
    white = (cats[0] == 255).all(axis=2)
    assert white[80:100, 110:130].all()
    assert not white[:55].any()
    # The tile of a large object has the whole frame.
    assert (dogs[0] == 255).all(axis=2)[60:140, 20:200].mean() > 0.9
    # Each class has one object, and the rest of its row is empty.
    assert (cats[1:] == 96).all()
    assert (dogs[1:] == 96).all()


def test_two_parts_share_the_row_of_a_class(tmp_path: Path) -> None:
    train = data_set(tmp_path / "a", [(0, CAT), (1, DOG)])
    val = data_set(tmp_path / "b", [(1, CAT)])
    (tmp_path / "b" / "0.png").unlink()
    write_contact_sheet({"train": train, "val": val}, tmp_path / "sheet.png")
    _, dogs = tiles(tmp_path / "sheet.png", 2)
    assert not (dogs[0] == 96).all()
    assert (dogs[1][:150] == 96).all()  # the frame cannot be read: the tile is gray above its text
    assert not (dogs[1] == 96).all()
    assert (dogs[2:] == 96).all()


def test_invalid_contact_sheets_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no object is annotated"):
        write_contact_sheet({"": data_set(tmp_path / "a", [])}, tmp_path / "sheet.png")
    assert not (tmp_path / "sheet.png").exists()
    check_picture(Path("sheet.JPG"))
    for name in ("sheet", "sheet.gif", "sheet.parquet"):
        with pytest.raises(InputError, match=r"expected a name that ends in \.jpg"):
            check_picture(Path(name))
    with pytest.raises(InputError, match=r"x/sheet\.png: cannot be written: there is no folder .*x"):
        check_picture(tmp_path / "x" / "sheet.png")
