"""Executors: where the processes of a job run. Each gives a process its `Ranks`.

A single process has `Ranks()`; `torchrun.py` joins the processes that torchrun started. Another executor is a
module here with a context manager like `torchrun.joined_ranks`, which initializes `torch.distributed`, since
`Ranks` communicates by it, and yields the `Ranks` of this process. `cli/evaluate.py` and `cli/train.py`
choose the executor; `ranks.share_out` divides the videos of a data set among the processes before work
begins.
"""
