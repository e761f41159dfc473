"""Cores and memory that this process may use, and worker processes."""
