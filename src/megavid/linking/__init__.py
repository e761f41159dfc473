"""Stages that link, track, rescore or filter detections over the frames of a video.

A linker is a `stage.Stage`, which turns the results of a video into better ones, with its settings, a
`linker_config.LinkerConfig`; `linkers.LINKERS` maps names to settings. `jobs/detect_to_folder.py` also
applies `tracking.Tracker` and `track_votes.TrackTable` to the results of one frame after another.
"""
