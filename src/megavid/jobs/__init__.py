"""The jobs that commands run: detect, evaluate, score, post-process, run the demo, measure speed."""
