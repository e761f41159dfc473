"""COCO and CocoVID."""
