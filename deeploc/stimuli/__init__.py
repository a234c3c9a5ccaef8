"""Stimuli: where they come from, how they are read, and how they are divided."""

from deeploc.contrast.sources import Source
from deeploc.stimuli.image_files import Unreadable, readable
from deeploc.stimuli.load import Drawn, draw, load
from deeploc.stimuli.reading import records
from deeploc.stimuli.sampling import sample, split_half
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
