"""Logs, curves and summaries of a training run."""
