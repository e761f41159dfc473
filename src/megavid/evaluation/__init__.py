"""Predictions on disk. Imports no model."""
