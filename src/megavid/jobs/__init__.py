"""Whole jobs over whole videos."""
