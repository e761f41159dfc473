"""Readers and writers of annotations, a folder for each format."""
