"""Drawing boxes and labels."""

from __future__ import annotations

import colorsys
from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from megavid.core.detections import Detections
from megavid.core.frames import Image
from megavid.video.render import Color, Mark, draw_detections, draw_marks, label_color


def detections(boxes: list[list[float]], labels: list[int] | None = None) -> Detections:
    n = len(boxes)
    return Detections(
        boxes=torch.tensor(boxes).reshape(n, 4),
        scores=torch.linspace(0.9, 0.5, n),
        labels=torch.tensor(labels if labels is not None else [0] * n, dtype=torch.int64),
        class_names=("dog", "cat", "giant panda"),
    )


def black(width: int, height: int) -> Image:
    return np.zeros((height, width, 3), np.uint8)


def is_color(image: Image, label: int) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    return np.asarray((image == np.array(label_color(label))).all(axis=2))


def test_drawn_boxes_are_half_open_and_the_given_image_is_not_changed() -> None:
    image = black(200, 100)
    drawn = draw_detections(image, detections([[50, 40, 150, 90]]))
    assert not image.any()
    box = is_color(drawn, 0)
    box[:40] = False  # ignore the label above the box
    rows, columns = np.nonzero(box)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (40, 89, 50, 149)
    assert not drawn[42:88, 52:148].any()


def test_drawing_nothing_returns_a_copy() -> None:
    image = black(20, 10)
    drawn = draw_detections(image, detections([]))
    np.testing.assert_array_equal(drawn, image)
    drawn[:] = 1
    assert not image.any()


def test_a_label_at_the_top_edge_stays_inside_the_frame() -> None:
    drawn = draw_detections(black(300, 200), detections([[250, 0, 300, 150]], [2]))
    rows, columns = np.nonzero(drawn.any(axis=2))
    assert (rows.min(), columns.max()) == (0, 299)
    strip = drawn[:12, :].any(axis=2)
    assert strip.any(axis=0).sum() > 60  # the text is drawn in full: it is wider than the box
    above = draw_detections(black(300, 200), detections([[20, 100, 200, 150]]))
    assert above[:100].any()


@pytest.mark.parametrize("color", [(200, 30, 60), (240, 220, 90)])
@pytest.mark.parametrize("text", ["giant panda 0.90", "#12 dog 0.5", "cat", "a  b ", "\u00c4pfel"])
def test_a_label_looks_as_if_its_text_was_drawn_at_once(text: str, color: Color) -> None:
    font = ImageFont.load_default(size=20)
    wide_text = text.replace(" ", "  ")
    left, _, right, _ = font.getbbox(wide_text)
    bottom = font.getbbox("Ag")[3]
    pad = round(bottom / 8)
    strip = Pillow.new("RGB", (round(right - left) + 2 * pad, round(bottom) + 2 * pad), color)
    fill = "white" if color[0] == 200 else "black"
    ImageDraw.Draw(strip).text((pad - left, pad), wide_text, fill=fill, font=font)
    drawn = draw_marks(black(1280, 720), [Mark((100, 300, 101, 301), text, color)])
    label = drawn[300 - strip.height : 300, 100 : 100 + strip.width]
    np.testing.assert_array_equal(label, np.asarray(strip))
    assert not drawn[:, 100 + strip.width :].any()


def test_words_of_a_label_are_apart_in_a_small_frame() -> None:
    drawn = draw_marks(black(192, 144), [Mark((20, 50, 120, 100), "dots 0.72", (200, 30, 60))])
    strip = drawn[50 - 12 : 50, 20:60]
    has_text = (strip != np.array((200, 30, 60))).any(axis=(0, 2))
    first, last = np.flatnonzero(has_text)[[0, -1]]
    gaps = np.diff(np.flatnonzero(has_text[first : last + 1])) - 1
    assert gaps.max() >= 4
    assert sorted(gaps)[-2] <= 1  # between letters


def test_a_box_narrower_than_two_lines_is_filled() -> None:
    drawn = draw_detections(black(1280, 720), detections([[100, 300, 104, 400], [600, 300, 700, 302]]))
    rows, columns = np.nonzero(is_color(drawn, 0)[300:])
    assert len(rows) == 4 * 100 + 100 * 2
    assert (rows.max(), columns.min(), columns.max()) == (99, 100, 699)


def test_the_box_with_the_highest_score_is_on_top() -> None:
    drawn = draw_detections(black(100, 100), detections([[10, 50, 90, 90], [10, 50, 90, 90]], [0, 1]))
    assert is_color(drawn, 0)[89, 50]


@pytest.mark.parametrize(
    ("box", "visible"),
    [
        ([-50, -50, 30, 30], True),
        ([90, 90, 500, 500], True),
        ([-1e9, -1e9, 1e9, 1e9], True),
        ([40, 40, 40, 40], True),
        ([60, 60, 40, 40], True),
        ([99.9, 99.9, 100, 100], False),
        ([200, 200, 300, 300], False),
        ([-30, -30, -10, -10], False),
        ([float("nan"), 0, 10, 10], False),
        ([0, 0, float("inf"), 10], False),
    ],
)
def test_boxes_outside_the_frame_and_degenerate_boxes(box: list[float], visible: bool) -> None:
    drawn = draw_detections(black(100, 100), detections([box]))
    assert drawn.shape == (100, 100, 3)
    assert drawn.any() == visible


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (5, 3), (5000, 3000)])
def test_boxes_are_drawn_in_frames_of_any_size(size: tuple[int, int]) -> None:
    width, height = size
    drawn = draw_detections(black(width, height), detections([[0, 0, width, height]]))
    assert drawn.shape == (height, width, 3)
    assert drawn.any()


def test_line_and_text_sizes_follow_the_frame() -> None:
    def sizes(width: int, height: int) -> tuple[int, int]:
        box = detections([[width / 4, height / 2, width / 2, height * 0.75]])
        color = is_color(draw_detections(black(width, height), box), 0)
        line = int(color[:, round(width * 0.45)].sum()) // 2
        label = int(color[: height // 2].any(axis=1).sum())
        return line, label

    assert sizes(320, 240)[0] == 1
    assert sizes(1280, 720)[0] == 3
    assert sizes(1280, 720)[1] >= 18
    assert sizes(5000, 3000)[1] >= 80


def test_boxes_are_drawn_without_class_names() -> None:
    plain = Detections(torch.tensor([[5.0, 5, 50, 50]]), torch.tensor([0.5]), torch.tensor([17]))
    assert draw_detections(black(100, 100), plain).any()


def test_colors_are_stable_and_distinct() -> None:
    assert label_color(3) == label_color(3)
    colors = [label_color(i) for i in range(30)]
    assert min(sum(abs(x - y) for x, y in zip(a, b, strict=True)) for a, b in combinations(colors, 2)) > 25
    hues = [colorsys.rgb_to_hsv(*color)[0] for color in colors]
    assert all(0.1 < abs(a - b) < 0.9 for a, b in pairwise(hues))


def test_interpolated_boxes_are_dashed() -> None:
    found = detections([[50, 40, 150, 90], [10, 130, 110, 180]])
    drawn = draw_detections(black(200, 200), replace(found, interpolated=torch.tensor([False, True])))
    colored = is_color(drawn, 0)
    whole, dashed = colored[89, 50:150], colored[179, 10:110]
    assert whole.all()
    # One pixel wide, and five pixels are drawn and five left out in turn, from the upper left corner on.
    assert dashed.tolist() == [column // 5 % 2 == 0 for column in range(99)] + [bool(colored[179, 109])]
    assert colored[130:180, 10].tolist()[20:49] == [row // 5 % 2 == 0 for row in range(20, 49)]
