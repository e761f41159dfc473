"""Executors: where the processes of a job run. Each gives a process its `Ranks`.

A single process has `Ranks()`; `torchrun.py` joins the processes that torchrun started. Another executor is a
module here with a context manager like `joined_ranks`, which yields the `Ranks` of this process.
"""
