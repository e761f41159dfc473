"""Read annotations that CVAT exported as "CVAT for video 1.1"."""
