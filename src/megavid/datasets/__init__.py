"""Annotated videos: the table, its formats, frames, checks, splits and the order of training clips."""
