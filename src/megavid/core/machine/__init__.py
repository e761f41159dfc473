"""Find out which cores and memory this process may use, and support worker processes."""
