"""Propose a recipe for annotated videos: `megavid init`."""
