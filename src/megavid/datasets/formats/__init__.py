"""Readers and writers of annotations: a folder for each format, and `registry.py`, which lists them."""
