"""Threads of one process: reading ahead, writing behind, and the number of threads of a network."""
