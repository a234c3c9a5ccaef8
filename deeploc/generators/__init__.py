"""Stimuli that deeploc makes itself."""
