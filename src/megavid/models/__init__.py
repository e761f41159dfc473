"""The detectors: the contract (`base`), Faster R-CNN, the methods on it, layers and acceleration.

Another architecture, such as a one-stage detector, is a folder beside `faster_rcnn` whose class extends
`base.video_detector.VideoDetector`. `method_registry.METHODS` lists all detectors.
"""
