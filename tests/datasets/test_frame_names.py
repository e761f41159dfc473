"""Splitting file names into the name of the clip and the frame number."""

from __future__ import annotations

import pytest

from megavid.datasets.frame_names import FrameName, parse_name

HASH = "b320e63fc8616436ecb43f4cdfaff670"


@pytest.mark.parametrize(
    ("name", "clip", "number"),
    [
        ("frame_000012.PNG", "frame", 12),
        ("img1/000031.jpg", "", 31),
        ("img12.png", "img", 12),
        ("img_12.png", "img", 12),
        ("clip-12.bmp", "clip", 12),
        ("clip 12.bmp", "clip", 12),
        ("frame (12).png", "frame", 12),
        ("0012_rgb.png", "rgb", 12),
        ("cam1_000012.png", "cam1", 12),
        ("1700000000123.png", "", 1700000000123),
        (f"clip_mp4-12_jpg.rf.{HASH}.jpg", "clip", 12),
        ("Clip 3_MOV-0007_PNG.rf.aZ09bcDE81jkLm22.png", "Clip 3", 7),
        (f"000031_jpg.rf.{HASH}.jpg", "", 31),
        (f"cat_jpg.rf.{HASH}.jpg", "cat", None),
        (f"frame_12_{HASH}.jpg", f"frame_{HASH}", 12),
        (f"{HASH}.jpg", HASH, None),
        ("deadbeef00000012.jpg", "deadbeef00000012", None),
        ("550e8400-e29b-41d4-a716-446655440000.jpg", "", None),
        ("clip.mp4.jpg", "clip.mp4", None),
        ("1_of_60_left.png", "1_of_60_left", None),
        ("cover.png", "cover", None),
        ("1305031102.175304.png", "", 1305031102175304000),
        ("1305031103.5.png", "", 1305031103500000000),
        ("2024-01-05_12-30-45.jpg", "", 20240105123045),
        ("cam2 2024-01-05 12.31.02.jpg", "cam2", 20240105123102),
        ("cam_20240105_0012.jpg", "cam_20240105", 12),
    ],
)
def test_clip_and_number_in_a_name(name: str, clip: str, number: int | None) -> None:
    assert parse_name(name) == FrameName(clip, number)
