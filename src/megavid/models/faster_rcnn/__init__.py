"""Faster R-CNN: its base class and its parts, from preprocessing to post-processing."""
