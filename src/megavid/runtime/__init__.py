"""Run a detector over a video: sessions, the store of encoded frames."""
