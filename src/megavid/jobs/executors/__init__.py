"""Executors join the processes of a job and give each process its `Ranks`.

A single process has `Ranks()`; `torchrun.py` joins the processes that torchrun started. To add an executor,
write a module here with a context manager like `torchrun.joined_ranks`: it initializes `torch.distributed`,
which `Ranks` communicates through, and yields the `Ranks` of this process. `cli/evaluate.py` and
`cli/train.py` choose the executor; `ranks.share_out` divides the videos of a data set among the processes
before work begins.
"""
