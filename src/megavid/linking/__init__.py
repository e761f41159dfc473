"""Result stages: linking, tracking, smoothing and filtering of detections over the frames of a video.

A stage is a module here. There is no table of stages: `jobs/detection_outputs.py` applies `tracking.Tracker`
and `track_votes.TrackTable` to the results of one frame after another, and `jobs/postprocess_predictions.py`
applies `seq_nms.seq_nms` to a whole `PredictionTable`.
"""
