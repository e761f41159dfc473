"""Read files that may be broken or hostile, and write files whole or not at all."""
