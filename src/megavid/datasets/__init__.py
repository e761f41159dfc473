"""Annotated videos: open, check, split and describe them, and choose training clips."""
