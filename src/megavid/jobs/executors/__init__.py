"""How the work of a job is shared: processes, threads, reading ahead."""
