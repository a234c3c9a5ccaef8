"""Stimuli: where they come from, how they are read, and how they are divided."""

from deeploc.contrast.sources import Source
from deeploc.stimuli.image_files import UnreadableImage, readable_images
from deeploc.stimuli.load import StimulusSets, load, sample_stimuli
from deeploc.stimuli.reading import records
from deeploc.stimuli.sampling import sample, split_half
from deeploc.stimuli.stimulus import ImageProperties, Record, Stimulus

__all__ = [
    "ImageProperties",
    "Record",
    "Source",
    "Stimulus",
    "StimulusSets",
    "UnreadableImage",
    "load",
    "readable_images",
    "records",
    "sample",
    "sample_stimuli",
    "split_half",
]
