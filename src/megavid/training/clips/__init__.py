"""Training data, the clips that are read from it, and their losses."""
