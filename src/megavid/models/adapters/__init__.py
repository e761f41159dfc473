"""Detectors of other libraries, which look at single frames, as detectors of megavid."""
