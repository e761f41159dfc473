"""Fast inference kernels for CPUs."""
