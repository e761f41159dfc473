"""Formats of predictions files: a module for each format, and a line for it in `prediction_files.py`."""
