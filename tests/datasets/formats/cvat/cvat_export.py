"""Write a synthetic data set in the form of a CVAT export: videos, and an XML file for each video."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from megavid.datasets.synthetic.camera import film
from megavid.datasets.synthetic.scene import CLASSES
from megavid.video.video_writer import VideoWriter

HEIGHT, WIDTH = 144, 192


def write_cvat_export(folder: Path, *, names: tuple[str, ...], frames: int) -> Path:
    """Write `NAME.mp4` and `NAME.xml` for each name; every object is a track with a box in each frame."""
    folder.mkdir(parents=True)
    for number, name in enumerate(names):
        video = list(film(seed=2, video=number, frames=frames, height=HEIGHT, width=WIDTH))
        tracks: dict[int, tuple[int, list[str]]] = {}
        with VideoWriter(folder / f"{name}.mp4", rate=Fraction(25), width=WIDTH, height=HEIGHT) as writer:
            for t, frame in enumerate(video):
                writer.write(frame.image, t / 25)
                for box, label, track in zip(frame.boxes, frame.labels, frame.tracks, strict=True):
                    x1, y1, x2, y2 = box.tolist()
                    corners = f'xtl="{x1}" ytl="{y1}" xbr="{x2}" ybr="{y2}"'
                    row = (
                        f'<box frame="{t}" outside="0" occluded="0" keyframe="1" {corners} z_order="0"></box>'
                    )
                    tracks.setdefault(int(track), (int(label), []))[1].append(row)
        rows = "".join(
            f'<track id="{track}" label="{CLASSES[label]}">{"".join(boxes)}</track>'
            for track, (label, boxes) in tracks.items()
        )
        labels = "".join(f"<label><name>{name}</name></label>" for name in CLASSES)
        (folder / f"{name}.xml").write_text(
            '<?xml version="1.0" encoding="utf-8"?><annotations><version>1.1</version><meta><task>'
            f"<size>{frames}</size><start_frame>0</start_frame><original_size><width>{WIDTH}</width>"
            f"<height>{HEIGHT}</height></original_size><labels>{labels}</labels></task></meta>{rows}</annotations>"
        )
    return folder
