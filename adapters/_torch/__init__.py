"""Shared by all torch adapters: hooks, reading, ablation, batches, identity."""
