"""Stimuli: where they come from, how they are read, and how they are divided."""

from deeploc.stimuli.loading import load, records, split_half
from deeploc.stimuli.sources import Source, sample
from deeploc.stimuli.stimulus import Record, Stimulus

__all__ = ["Record", "Source", "Stimulus", "load", "records", "sample", "split_half"]
