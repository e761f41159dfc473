"""The detectors: their contract (`base`), Faster R-CNN, the methods based on it, layers and acceleration.

To add another architecture, such as a one-stage detector, make a folder beside `faster_rcnn`, with a class
that extends `base.video_detector.VideoDetector`. `method_registry.METHODS` lists all detectors.
"""
