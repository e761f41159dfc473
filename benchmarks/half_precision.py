"""How many detections in float32 have a partner in bfloat16, as it comes and loose, and what AP50 does.

    python -m benchmarks.half_precision [--videos 8] [--seed 3]

The weights that ship, on generated videos that they have not seen. A partner is a detection of the same class
in the same frame whose corners are all within two pixels; asked of the detections with a score above 0.3.
"""

from __future__ import annotations

import argparse

import torch

from megavid import Detections, detect_video, load_detector
from megavid.datasets.synthetic.camera import VideoFrame, film
from megavid.evaluation import Boxes, average_precision
from megavid.models.base.inference import Inference

PIXELS, SCORE = 2.0, 0.3
WAYS = {
    "float32": Inference(),
    "bfloat16": Inference(dtype="bfloat16"),
    "bfloat16, loose": Inference(dtype="bfloat16", loose=True),
}
FIELDS = ("boxes", "labels", "scores")
FRAMES, HEIGHT, WIDTH = 48, 144, 192


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--videos", type=int, default=8)
    parser.add_argument("--seed", type=int, default=3)
    arguments = parser.parse_args()
    videos = [
        list(film(seed=arguments.seed, video=i, frames=FRAMES, height=HEIGHT, width=WIDTH))
        for i in range(arguments.videos)
    ]
    for name in ("single_frame_generated", "mega_generated"):
        found = {}
        for way, inference in WAYS.items():
            detector = load_detector(weights=name, device="cpu", inference=inference)
            found[way] = [
                result.detections
                for video in videos
                for result in detect_video(detector, [frame.image for frame in video])
            ]
        truth = boxes_of([objects(frame) for video in videos for frame in video])
        for way, detections in found.items():
            pairs = zip(found["float32"], detections, strict=True)
            counts = [partners(a[a.scores > SCORE], b) for a, b in pairs]
            have, want = (sum(numbers) for numbers in zip(*counts, strict=True))
            result = average_precision(
                boxes_of(detections), truth, num_frames=len(detections), num_classes=len(detector.class_names)
            )
            matched = f"{have} of {want} above {SCORE} matched, {have / want:.2%}"
            print(f"{name}, {way}: {matched}; AP50 {100 * result.mean:.1f}", flush=True)


def partners(want: Detections, have: Detections) -> tuple[int, int]:
    """How many of `want` have a partner in `have`, and how many there are."""
    near = (want.boxes[:, None] - have.boxes[None]).abs().amax(2) <= PIXELS
    near &= want.labels[:, None] == have.labels[None]
    return int(near.any(1).sum()), len(want)


def objects(frame: VideoFrame) -> Detections:
    """The true objects of a frame."""
    labels = torch.from_numpy(frame.labels)
    return Detections(torch.from_numpy(frame.boxes), torch.ones(len(labels)), labels)


def boxes_of(frames: list[Detections]) -> Boxes:
    """Those of all frames in one table."""
    frame = torch.cat([torch.full((len(f),), i) for i, f in enumerate(frames)])
    xyxy, label, score = (torch.cat([getattr(f, key) for f in frames]) for key in FIELDS)
    return Boxes(frame.numpy(), xyxy.double().numpy(), label.numpy(), score.numpy())


if __name__ == "__main__":
    main()
