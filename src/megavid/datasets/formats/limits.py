"""Limits of the numbers in annotations. Larger numbers are mistakes that could fill the memory."""

LONGEST_VIDEO = 1_000_000
"""Largest number of frames in a video: eleven hours at 25 frames per second."""

LARGEST_COORDINATE = 10_000_000.0
"""Largest coordinate or side of a box, in pixels. No image that can be read is as large."""

LARGEST_SIDE = 1_000_000
"""Largest width or height of an image, in pixels."""

MOST_FRAMES = 5_000_000
"""Largest number of frames that a data set may declare."""
