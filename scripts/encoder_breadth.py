"""Read, ablate and score one tiny model of every masked LM and encoder-decoder of transformers.

    python scripts/encoder_breadth.py [masked|seq2seq] [TYPE ...]

Every type that transformers maps to AutoModelForMaskedLM or AutoModelForSeq2SeqLM is built from its
own config class with random weights, saved, and loaded as `hf:FOLDER`. It fully works if its sites
are found and read; if texts read together are as they are one by one, to float tolerance; if
ablated units of every kind read 0 and change what comes after; if nothing is left behind; and if
its scores do not depend on the batch. What is not a masked LM or an encoder-decoder after all (an
audio model with a causal text model) must work as what it is. Each other type is told in one line.
"""

import argparse
import sys
import tempfile
import warnings
from collections import Counter
from typing import Any

import numpy as np
import torch
from tiny_models import tiny_config, tiny_tokenizer
from tokenizers.processors import TemplateProcessing
from transformers import AutoModelForMaskedLM, AutoModelForSeq2SeqLM
from transformers.models.auto import modeling_auto
from transformers.utils import logging

import deeploc.adapters._text.adapter as text
from deeploc.adapters.hf import load
from deeploc.core.ablation import Ablation
from deeploc.core.adapter import ModelOptions, ScoresText, TextRequest
from deeploc.core.readout import Readout
from deeploc.core.units import Layout, UnitMask
from deeploc.errors import DeeplocError
from deeploc.stimuli import Stimulus

SENTENCE = "the old woman near the window reads a long letter to her sister"
TEXTS = [Stimulus(f"texts:{n}", SENTENCE[: 20 + 6 * n]) for n in range(8)]
REQUESTS = [TextRequest("the old", " woman near"), TextRequest("", "a long letter to her")]
LIMIT = 1e-3
"""Largest difference between a text alone and in a batch, relative to the largest activation."""

FAMILIES = {
    "masked": (AutoModelForMaskedLM, modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES),
    "seq2seq": (AutoModelForSeq2SeqLM, modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES),
}

MORE: dict[str, dict[str, Any]] = {
    "encoder-decoder": {"decoder.is_decoder": True, "decoder.add_cross_attention": True},
    "esmc": {"vocab_size": 330},
    "esm": {"vocab_size": 330, "pad_token_id": 2, "mask_token_id": 3},
    "xmod": {"default_language": "en_XX"},
}
"""Type -> what its config needs besides."""


class Fault(Exception):
    """What does not work, in one line."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("family", nargs="?", choices=FAMILIES)
    parser.add_argument("types", nargs="*", help="only these")
    arguments = parser.parse_args()
    text.PADDING = 1.0  # all texts in one padded batch, where a model can pad
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    warnings.simplefilter("ignore")
    counts: Counter[str] = Counter()
    for family in [arguments.family] if arguments.family else FAMILIES:
        for kind in arguments.types or FAMILIES[family][1]:
            state, told = outcome(kind, FAMILIES[family][0])
            counts[f"{family} {state}"] += 1
            print(f"{family:8}{kind:24}{state:9}{told}"[:160], flush=True)
    for family in FAMILIES:
        works, fails = counts[f"{family} works"], counts[f"{family} fails"]
        if works + fails:
            print(f"{family}: {works} of {works + fails} buildable types fully work")
    sys.exit(any(state.endswith("fails") for state in counts))


def outcome(kind: str, auto: Any) -> tuple[str, str]:
    """Return whether a type works, fails or cannot be built, and more about it."""
    try:
        model = built(kind, auto)
    except Exception as error:  # whatever a model class raises
        return "unbuilt", one_line(error)
    try:
        return "works", checked(model)
    except (DeeplocError, Fault) as error:
        return "fails", one_line(error)
    except Exception as error:  # a traceback is a fault of deeploc
        return "fails", f"TRACEBACK {one_line(error)}"


def built(kind: str, auto: Any) -> Any:
    """Return a tiny random model of a type, its weights larger than usual so that errors show."""
    config = tiny_config(kind)
    for name, value in MORE.get(kind, {}).items():
        place, _, last = name.rpartition(".")
        setattr(getattr(config, place) if place else config, last, value)
    if auto is AutoModelForMaskedLM:
        config.is_decoder = False
    torch.manual_seed(0)
    model = auto.from_config(config, dtype=torch.float32)
    for parameter in model.parameters():
        parameter += 0.1 * torch.randn(parameter.shape)
    return model.eval()


def checked(model: Any) -> str:
    """Check one model, and return what it is and its kinds of sites."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        tokenizer().save_pretrained(folder)
        adapter = load(folder, ModelOptions(device="cpu"))
        one = load(folder, ModelOptions(device="cpu", batch_size=1))
    check_batches(adapter, one)
    check_ablation(adapter)
    scores = check_scores(adapter, one)
    kinds = {kind: len(adapter.sites.choose([kind]).sites) for kind in adapter.sites.kinds}
    told = " ".join(f"{kind}={n}" for kind, n in kinds.items())
    return f"{type(adapter).__name__} {told}{'' if scores else ' (no scores)'}"


def tokenizer() -> Any:
    """Return a tokenizer with a mask token that puts a token before and after every text."""
    made = tiny_tokenizer()
    made.add_special_tokens({"mask_token": "~"})
    made.backend_tokenizer.post_processor = TemplateProcessing(
        "<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    return made


def read(adapter: Any, layout: Layout, pool: str = "mean") -> np.ndarray:
    values = np.full((len(TEXTS), layout.n_units), np.nan)
    readout = Readout(pool=pool, tokens="all", response="signed")
    for batch in adapter.activations(TEXTS, layout, readout):
        values[batch.indices] = batch.values
    return values


def check_batches(adapter: Any, one: Any) -> None:
    """Refuse activations that depend on what shares the forward pass."""
    together, alone = read(adapter, adapter.sites), read(one, one.sites)
    if not np.isfinite(alone).all():
        raise Fault("activations are not finite")
    difference = np.abs(together - alone).max() / np.abs(alone).max()
    if difference > LIMIT:
        raise Fault(f"a text reads otherwise in a batch (relative difference {difference:.1e})")


def check_ablation(adapter: Any) -> None:
    """Ablate units of every kind: they read 0, later sites change, and nothing stays."""
    intact = read(adapter, adapter.sites)
    for kind in adapter.sites.kinds:
        layout = adapter.sites.choose([kind])
        first = layout.slices[layout.sites[0].name]
        selected = np.zeros(layout.n_units, dtype=bool)
        selected[first.start : first.stop : 2] = True
        with adapter.ablated(Ablation(UnitMask(layout, selected))):
            own, after = read(adapter, layout, "max"), read(adapter, adapter.sites)
        if own[:, selected].any():
            raise Fault(f"ablated units of kind {kind} do not read 0")
        last = adapter.sites.slices[adapter.sites.sites[-1].name]
        if np.allclose(after[:, last], intact[:, last], rtol=1e-6, atol=1e-9):
            raise Fault(f"ablating {kind} changes nothing at the last site")
        if not np.array_equal(read(adapter, adapter.sites), intact):
            raise Fault(f"ablating {kind} leaves something behind")


def check_scores(adapter: Any, one: Any) -> bool:
    """Return whether the model scores; refuse scores that depend on the batch."""
    if not isinstance(adapter, ScoresText):
        return False
    for a, b in zip(adapter.score(REQUESTS), one.score(REQUESTS), strict=True):
        if not np.isfinite(a.logprob) or not a.n_tokens:
            raise Fault(f"the score of a text is {a.logprob} of {a.n_tokens} tokens")
        if abs(a.logprob - b.logprob) > LIMIT * abs(b.logprob):
            raise Fault(f"a text scores {a.logprob:.4f} in a batch and {b.logprob:.4f} alone")
    return True


def one_line(error: Exception) -> str:
    name = "" if isinstance(error, DeeplocError | Fault) else f"{type(error).__name__}: "
    return name + " ".join(str(error).split())


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
