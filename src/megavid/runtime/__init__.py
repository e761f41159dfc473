"""Run a detector over a video: sessions and the store of encoded frames."""
