"""Speed-ups of inference."""
