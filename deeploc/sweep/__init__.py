"""Sweeps: one run for every model, contrast, seed and combination of options of a file."""
