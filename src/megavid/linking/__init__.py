"""Result stages, which connect detections over the frames of a video.

A stage is a module here. `tracking.Tracker` and `track_votes.TrackTable` take the results of one frame after
another, for `jobs.detection_outputs`; `seq_nms.seq_nms` takes a whole `PredictionTable`, for
`jobs.postprocess_predictions`.
"""
