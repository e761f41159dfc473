"""Read and write data sets in YOLO's format, which has a text file for each image."""
