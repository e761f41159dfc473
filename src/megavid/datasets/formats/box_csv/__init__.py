"""Read and write tables of boxes in CSV, with the columns that megavid writes."""
