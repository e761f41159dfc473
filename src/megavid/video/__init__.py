"""Videos: reading, the session that detects in one frame by frame, drawing, writing."""
