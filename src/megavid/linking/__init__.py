"""Connect detections over frames: Seq-NMS, tracking, one class for each track."""
