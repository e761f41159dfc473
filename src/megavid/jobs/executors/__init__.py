"""Executors run a job in several processes.

Processes that share one job, as in training, know each other by their `Ranks`. A single process has
`Ranks()`; `torchrun.py` joins the processes that torchrun started. To add such an executor, write a module
here with a context manager like `torchrun.joined_ranks`: it initializes `torch.distributed`, which `Ranks`
communicates through, and yields the `Ranks` of this process. `cli/evaluate.py` and `cli/train.py` choose the
executor; `ranks.share_out` divides the videos of a data set among the processes before work begins.

The workers of an archive do not know each other: a driver (`jobs/archive/driver.py`) gives each of them one
task after another through an `Engine` (`engine.py`): `local_engine.py` or `ray_engine.py`.
"""
