"""Limits on the numbers of annotations: a larger one is a mistake, and may fill the memory."""

LONGEST_VIDEO = 1_000_000
"""The most frames of a video that annotations may speak of: eleven hours at 25 frames a second."""

LARGEST_COORDINATE = 10_000_000.0
"""The most pixels of a box's corner or side; larger images cannot be read anyway."""

LARGEST_SIDE = 1_000_000
"""The most pixels of an image's width or height."""

MOST_FRAMES = 5_000_000
"""The most frames that a data set may declare."""
