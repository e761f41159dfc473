"""Decode images and videos, draw detections, write videos."""
