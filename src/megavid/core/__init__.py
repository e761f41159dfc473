"""Values that all layers share: boxes, detections, frames, reference plans, configuration."""
