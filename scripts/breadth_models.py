"""Families of model types of transformers: what belongs to them, how they are loaded and read."""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from breadth_images import IMAGE_TYPES, default_network, image_processor, tiny_network
from PIL import Image
from tiny_models import random_model, tiny_config, tiny_model, tiny_tokenizer
from tiny_sizes import VOCABULARY
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    PreTrainedTokenizerFast,
)
from transformers.models.auto import modeling_auto
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

import deeploc
from deeploc.core.adapter import Adapter, Modality, ModelOptions
from deeploc.errors import AdapterError
from deeploc.stimuli import Stimulus
from deeploc.testing.checking import Load

TEXTS = (
    "the old woman near the window reads a long letter to her sister today",
    "a small dog that the children chased was hiding behind the red barn door",
    "the bird sang",
    "some farmers walked home",
    "three of the boys who like apples were sleeping under a tree",
    "vek blorp shint dax quel mab wug trone",
    "ploo",
    "gorp hend jask klum norv pim rilk sart tull vonk",
)
"""As many as the larger batch, of unlike lengths, all shorter than the context."""

N_IMAGES = 4

Save = Callable[[Any, Path], Any]
"""Writes what a checkpoint needs beside its weights; returns it."""

ENCODERS: dict[str, dict[str, Any]] = {
    "encoder-decoder": {"decoder.is_decoder": True, "decoder.add_cross_attention": True},
    "xlm": {"causal": False},
    "esmc": {"vocab_size": VOCABULARY},
    "esm": {"vocab_size": VOCABULARY, "pad_token_id": 2, "mask_token_id": 3},
}
"""Type -> what its config needs besides where it is built as an encoder."""


@dataclass(frozen=True)
class Family:
    """Types of models that are built, saved and shown stimuli alike.

    Parameters
    ----------
    types
        Names of the types, as in `CONFIG_MAPPING`.
    builds
        Ways to build a model of a type, in the order in which they are tried.
    save
        Writes what a checkpoint needs beside its weights; returns it.
    stimuli
        Returns what models are shown; files of images are written into a folder.
    auto
        The class of transformers that loads the types; ``None``: they differ.
    wrap
        Whether models are wrapped as they are, not loaded.
    """

    types: Sequence[str]
    builds: Sequence[Callable[[str], Any]]
    save: Save
    stimuli: Callable[[Path], list[Stimulus]]
    auto: Any = None
    wrap: bool = False

    @property
    def modality(self) -> Modality:
        """What models are shown; of two towers that of images is read in its family."""
        return "image" if self.stimuli is noise else "text"

    def takes_videos(self, kind: str) -> bool:
        """Return whether a type takes the frames of a video, which no image is."""
        if (
            self.modality == "text"
            or kind in modeling_auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES
        ):
            return False
        config = CONFIG_MAPPING[kind]()
        config = getattr(config, "vision_config", config)
        return any(hasattr(config, name) for name in ("num_frames", "tubelet_size"))


def loaded(family: Family, model: Any, folder: Path) -> Load:
    """Return how the adapter of a model is loaded: from a folder, which this writes, or by `wrap`.

    What transformers itself cannot load again is wrapped.
    """
    beside = family.save(model, folder)
    if not family.wrap:
        model.save_pretrained(folder)
    if family.wrap or not _loads_again(family, folder):
        return partial(_wrapped, model, beside)
    return _Loads(f"hf:{folder}")


class _Loads:
    """Loads a checkpoint anew, or returns what was loaded with another size of batch."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._first: Any = None

    def __call__(self, options: ModelOptions) -> Adapter:
        if self._first is not None and options.batch_size is not None:
            resized = copy(self._first)
            resized._options = replace(self._first._options, batch_size=options.batch_size)
            return resized
        adapter = deeploc.load_model(self._address, options)
        self._first = self._first or adapter
        return adapter


def _loads_again(family: Family, folder: Path) -> bool:
    if family.auto is None:
        return True
    try:
        family.auto.from_pretrained(folder)
    except Exception:  # whatever a model class raises
        return False
    return True


def _wrapped(model: Any, tokenizer: PreTrainedTokenizerFast, options: ModelOptions) -> Adapter:
    if options.untrained:
        raise AdapterError("a module that is wrapped has the weights that it has")
    return deeploc.wrap(model, tokenizer=tokenizer, name=model.config.model_type, options=options)


def text_tokenizer(_: Any, folder: Path) -> PreTrainedTokenizerFast:
    """Write a tokenizer that adds no token of its own."""
    made = tiny_tokenizer()
    made.save_pretrained(folder)
    return made


def encoder_tokenizer(_: Any, folder: Path) -> PreTrainedTokenizerFast:
    """Write a tokenizer with a mask token that puts a token before and after every text."""
    made = tiny_tokenizer()
    made.add_special_tokens({"mask_token": "~"})
    made.backend_tokenizer.post_processor = TemplateProcessing(
        "<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    made.save_pretrained(folder)
    return made


def texts(_: Path) -> list[Stimulus]:
    return [Stimulus(f"text:{number}", text) for number, text in enumerate(TEXTS)]


def noise(folder: Path) -> list[Stimulus]:
    """Write images of noise, each of another grain, so that no two are alike to any network."""
    rng = np.random.default_rng(0)
    for number in range(N_IMAGES):
        pixels = rng.integers(0, 256, (4 * 2**number,) * 2 + (3,), dtype=np.uint8)
        Image.fromarray(pixels).resize((128, 96)).save(folder / f"noise{number}.png")
    names = [f"noise{number}.png" for number in range(N_IMAGES)]
    return [Stimulus(name, folder / name) for name in names]


def encoder(kind: str, auto: Any, sizes: str) -> Any:
    """Return a small random masked LM or encoder-decoder of a type."""
    config = tiny_config(kind, sizes)
    for name, value in ENCODERS.get(kind, {}).items():
        place, _, last = name.rpartition(".")
        setattr(getattr(config, place) if place else config, last, value)
    if auto is AutoModelForMaskedLM:
        config.is_decoder = False
    return random_model(config, auto)


def causal(sizes: str, wrap: bool) -> Family:
    kinds = list(modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
    builds = [partial(tiny_model, sizes=sizes)]
    return Family(kinds, builds, text_tokenizer, texts, auto=AutoModelForCausalLM, wrap=wrap)


def masked(sizes: str, wrap: bool) -> Family:
    kinds = list(modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES)
    builds = [partial(encoder, auto=AutoModelForMaskedLM, sizes=sizes)]
    return Family(kinds, builds, encoder_tokenizer, texts, wrap=wrap)


def seq2seq(sizes: str, wrap: bool) -> Family:
    kinds = list(modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES)
    builds = [partial(encoder, auto=AutoModelForSeq2SeqLM, sizes=sizes)]
    return Family(kinds, builds, encoder_tokenizer, texts, wrap=wrap)


def images(sizes: str, wrap: bool) -> Family:
    if wrap:
        raise SystemExit("--wrap: networks of images are wrapped with a transform of their own")
    builds = [partial(tiny_network, sizes=sizes), default_network]
    return Family(IMAGE_TYPES, builds, image_processor, noise)


FAMILIES: dict[str, Callable[[str, bool], Family]] = {
    "causal": causal,
    "masked": masked,
    "seq2seq": seq2seq,
    "images": images,
}
