"""Formats of predictions files. `prediction_files.py` chooses one by the suffix of the file."""
