"""Read files that may be broken or hostile, and write files completely or not at all."""
