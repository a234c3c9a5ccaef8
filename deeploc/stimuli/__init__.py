"""Stimuli: where they come from, how they are read, and how they are divided."""

from deeploc.stimuli.drawing import Drawn, draw
from deeploc.stimuli.halves import split_half
from deeploc.stimuli.images import Unreadable, readable
from deeploc.stimuli.loading import load
from deeploc.stimuli.reading import records
from deeploc.stimuli.sources import Source, sample
from deeploc.stimuli.stimulus import Look, Record, Stimulus

__all__ = [
    "Drawn",
    "Look",
    "Record",
    "Source",
    "Stimulus",
    "Unreadable",
    "draw",
    "load",
    "readable",
    "records",
    "sample",
    "split_half",
]
