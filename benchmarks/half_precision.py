"""Compare bfloat16 detections with float32 detections, for the shipped weights on newly generated videos.

    python -m benchmarks.half_precision [--videos 8] [--seed 3]

For each setting, prints AP50 and the share of float32 detections with a score above 0.3 that have a partner.
A partner is a detection in that setting, of the same class in the same frame, whose box coordinates all
differ by at most two pixels.
"""

from __future__ import annotations

import argparse

import torch

from megavid import Detections, detect_video, load_detector
from megavid.datasets.synthetic.camera import SyntheticFrame, film
from megavid.evaluation import Boxes, average_precision
from megavid.models.acceleration.inference import Inference

PIXELS, SCORE = 2.0, 0.3
SETTINGS = {
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
        for setting, inference in SETTINGS.items():
            detector = load_detector(weights=name, device="cpu", inference=inference)
            found[setting] = [
                result.detections
                for video in videos
                for result in detect_video(detector, [frame.image for frame in video])
            ]
        truth = concatenate([true_objects(frame) for video in videos for frame in video])
        for setting, detections in found.items():
            pairs = zip(found["float32"], detections, strict=True)
            counts = [count_partners(a[a.scores > SCORE], b) for a, b in pairs]
            matched, total = (sum(numbers) for numbers in zip(*counts, strict=True))
            result = average_precision(
                concatenate(detections),
                truth,
                num_frames=len(detections),
                num_classes=len(detector.class_names),
            )
            share = f"{matched} of {total} above {SCORE} matched, {matched / total:.2%}"
            print(f"{name}, {setting}: {share}; AP50 {100 * result.mean:.1f}", flush=True)


def count_partners(expected: Detections, found: Detections, *, pixels: float = PIXELS) -> tuple[int, int]:
    """Return how many of the expected detections have a partner in `found`, and how many are expected."""
    near = (expected.boxes[:, None] - found.boxes[None]).abs().amax(2) <= pixels
    near &= expected.labels[:, None] == found.labels[None]
    return int(near.any(1).sum()), len(expected)


def true_objects(frame: SyntheticFrame) -> Detections:
    """Return the annotated objects of a frame as detections of score 1."""
    labels = torch.from_numpy(frame.labels)
    return Detections(torch.from_numpy(frame.boxes), torch.ones(len(labels)), labels)


def concatenate(frames: list[Detections]) -> Boxes:
    """Concatenate the detections of all frames into one table."""
    frame = torch.cat([torch.full((len(f),), i) for i, f in enumerate(frames)])
    xyxy, label, score = (torch.cat([getattr(f, key) for f in frames]) for key in FIELDS)
    return Boxes(frame.numpy(), xyxy.double().numpy(), label.numpy(), score.numpy())


if __name__ == "__main__":
    main()
