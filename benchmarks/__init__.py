"""Measurements of speed; each compares things side by side in one run."""
