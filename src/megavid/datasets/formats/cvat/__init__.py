"""CVAT for video 1.1."""
