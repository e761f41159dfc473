"""Measure the peak memory of detection in a short video and in a long one.

    python -m benchmarks.memory [--short 200] [--long 5000] [METHOD ...]

Each measurement runs `detect_video` in a separate process, on a generated 320x240 video. The network is tiny
and takes little memory, so any growth with the length of the video shows. Prints the peak resident memory
and the number of encodings per frame.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

from megavid import detect_video, load_detector
from megavid.datasets.synthetic.camera import film
from megavid.jobs.metered_detector import MeteredDetector
from megavid.models.method_registry import METHODS
from megavid.video.video_writer import VideoWriter

SMALL = {
    "backbone.depth": 18,
    "backbone.width": 8,
    "backbone.reduce_channels": 16,
    "input.min_size": 64,
    "input.max_size": 96,
    "rpn.post_nms_top_n": 60,
    "method.hidden": 64,
}
DISTINCT_FRAMES = 100
"""Number of different frames to render; longer videos repeat them."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("methods", nargs="*", default=["single_frame", "mega"])
    parser.add_argument("--short", type=int, default=200)
    parser.add_argument("--long", type=int, default=5000)
    parser.add_argument("--detect", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.methods if name not in METHODS]:
        parser.error(f"expected some of {', '.join(METHODS)}, got {unknown[0]}")
    if arguments.detect is not None:
        detect(arguments.methods[0], arguments.detect)
        return
    with tempfile.TemporaryDirectory() as folder:
        for method in arguments.methods:
            peaks = []
            for length in (arguments.short, arguments.long):
                video = write(Path(folder) / f"{length}.mp4", length)
                command = [sys.executable, "-m", "benchmarks.memory", method, "--detect", str(video)]
                output = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
                peaks.append(float(output[0]))
                print(
                    f"{method}: {length} frames, peak {peaks[-1]:.0f} MB, {output[1]} encodings per frame",
                    flush=True,
                )
            print(f"{method}: {peaks[1] - peaks[0]:+.0f} MB")


def detect(method: str, video: Path) -> None:
    """Detect objects in a video; print the peak memory in megabytes and the number of encodings per frame."""
    detector = load_detector(f"{method}_r50", device="cpu", overrides=SMALL)
    metered = MeteredDetector(detector)
    frames = sum(1 for _ in detect_video(metered, video))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{peak:.1f} {metered.encoded / frames:.3f}")


def write(path: Path, length: int) -> Path:
    if not path.exists():
        video = film(seed=0, video=0, frames=DISTINCT_FRAMES, height=240, width=320)
        images = [frame.image for frame in video]
        with VideoWriter(path, rate=Fraction(25), width=320, height=240) as writer:
            for i in range(length):
                writer.write(images[i % DISTINCT_FRAMES], i / 25)
    return path


if __name__ == "__main__":
    main()
