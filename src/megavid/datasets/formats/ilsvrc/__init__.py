"""Read data sets in the layout of ImageNet VID and DET."""
