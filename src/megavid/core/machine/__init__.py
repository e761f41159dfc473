"""What the machine offers to this process: cores, memory, worker processes."""
