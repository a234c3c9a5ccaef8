"""Generators: stimuli that deeploc makes itself."""
