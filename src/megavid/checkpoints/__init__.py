"""Weights in and out: the original release's checkpoints, megavid's own files, ready detectors."""
