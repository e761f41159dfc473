"""Threads of one process: reading ahead, writing behind, and how many a network computes on."""
