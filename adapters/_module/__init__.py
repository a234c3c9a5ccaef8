"""Torch modules of any kind, with a function that prepares their input."""
