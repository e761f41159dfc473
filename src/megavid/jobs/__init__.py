"""Whole jobs, which commands call: detect, evaluate, score, post-process, run the demo, measure speed."""
