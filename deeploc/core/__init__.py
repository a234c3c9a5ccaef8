"""Units, statistics, selection, ablation and results; protocols of adapters and tasks."""
