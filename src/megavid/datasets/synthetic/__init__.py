"""A generated video data set in which single frames are ambiguous, but neighboring frames are not."""
