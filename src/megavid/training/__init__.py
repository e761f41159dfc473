"""Train a detector: recipe, clips, loop, checkpoints, logs."""
