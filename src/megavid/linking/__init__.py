"""Stages that link, track, rescore or filter detections over the frames of a video.

Each stage is a module here, which jobs call directly: `jobs/detection_outputs.py` applies `tracking.Tracker`
and `track_votes.TrackTable` to the results of one frame after another, and `jobs/postprocess_predictions.py`
applies `seq_nms.seq_nms` to a whole `PredictionTable`.
"""
