"""ImageNet VID and DET."""
