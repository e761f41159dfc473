"""Kernels that make inference fast on CPUs alone."""
