"""Values that every layer speaks in: boxes, detections, frames, reference plans, configuration."""
