"""Continue a prompt with a causal LM."""

import logging
from collections.abc import Mapping
from typing import Any

import torch

from deeploc.adapters._torch.hooks import eager
from deeploc.adapters._torch.quiet import quiet
from deeploc.adapters._torch.read import eval_mode
from deeploc.core.adapter import Sampling
from deeploc.errors import AdapterError

from .causal import CausalLM
from .decode import Choice, new_tokens
from .tokenize import Tokenizer, bare_ids

_log = logging.getLogger(__name__)

_NEUTRAL: Mapping[str, Any] = {
    "num_beams": 1,
    "num_beam_groups": 1,
    "length_penalty": 1,
    "diversity_penalty": 0,
    "penalty_alpha": 0,
    "repetition_penalty": 1,
    "encoder_repetition_penalty": 1,
    "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0,
    "min_length": 0,
    "min_new_tokens": 0,
    "guidance_scale": 1,
    "bad_words_ids": None,
    "force_words_ids": None,
    "constraints": None,
    "sequence_bias": None,
    "forced_bos_token_id": None,
    "forced_eos_token_id": None,
    "forced_decoder_ids": None,
    "suppress_tokens": None,
    "begin_suppress_tokens": None,
    "exponential_decay_length_penalty": None,
    "watermarking_config": None,
    "stop_strings": None,
    "dola_layers": None,
}
"""Settings of a GenerationConfig that change which tokens are taken, and where they do not."""

_NEUTRAL_SAMPLING: Mapping[str, Any] = {
    "temperature": 1,
    "top_k": 0,
    "top_p": 1,
    "min_p": 0,
    "top_h": 1,
    "typical_p": 1,
    "epsilon_cutoff": 0,
    "eta_cutoff": 0,
}
"""The same of settings that count only where tokens are sampled."""


@torch.inference_mode()
def continuation(lm: CausalLM, tokenizer: Tokenizer, prompt: str, sampling: Sampling) -> str:
    """Return the text that the model generates after ``prompt``, without the prompt.

    Parameters
    ----------
    lm, tokenizer
        The model and its tokenizer.
    prompt
        Text, without special tokens.
    sampling
        Greedy at temperature 0; else sampled from the model's whole distribution at that
        temperature. Nothing else is done to the logits, see `own_settings`.

    Raises
    ------
    AdapterError
        If the prompt is empty or leaves no room in the context.
    """
    ids = bare_ids(tokenizer, prompt)
    if not ids:
        raise AdapterError(
            "the prompt is empty and this tokenizer has no beginning-of-text token; give a prompt"
        )
    room = sampling.max_tokens if lm.context is None else lm.context - len(ids)
    if room < 1:
        raise AdapterError(
            f"the prompt has {len(ids)} tokens but the model's context is {lm.context}; "
            "shorten the prompt"
        )
    length, ends = min(sampling.max_tokens, room), end_tokens(lm.model, tokenizer)
    with eval_mode(lm.model), eager(), quiet():
        new = new_tokens(lm, ids, Choice(sampling), ends, length)
    if len(new) < length and not ends.intersection(new):
        _log.warning("the text ends after %d tokens: the logits are not finite", len(new))
    return _new_text(tokenizer, ids, new)


def own_settings(model: Any, sampling: Sampling) -> dict[str, Any]:
    """Return what the model's own generation config asks for and `continuation` does not do.

    Texts show what a model predicts, so that no setting which overrules its predictions is
    followed: forced and suppressed tokens, beams, penalties, cut-offs. Only its end tokens are.

    Parameters
    ----------
    model
        A model of transformers.
    sampling
        What is done instead.
    """
    own = getattr(model, "generation_config", None)
    samples = bool(getattr(own, "do_sample", None))
    neutral = {**_NEUTRAL, "do_sample": sampling.temperature > 0}
    if samples:
        neutral |= {**_NEUTRAL_SAMPLING, "temperature": sampling.temperature or 1}
    values = {name: getattr(own, name, None) for name in neutral}
    return {k: v for k, v in values.items() if v is not None and v != neutral[k] and v != []}


def end_tokens(model: Any, tokenizer: Tokenizer) -> frozenset[int]:
    """Return the tokens that end a text: those of the checkpoint, else of the tokenizer.

    Parameters
    ----------
    model
        A model of transformers.
    tokenizer
        Its tokenizer.
    """
    own = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    ends = tokenizer.eos_token_id if own is None else own
    return frozenset(() if ends is None else [ends] if isinstance(ends, int) else ends)


def _new_text(tokenizer: Tokenizer, prompt: list[int], new: list[int]) -> str:
    """Return the text of ``new``, with the leading space that decoding it alone would lose."""
    before = str(tokenizer.decode(prompt, skip_special_tokens=True))
    both = str(tokenizer.decode([*prompt, *new], skip_special_tokens=True))
    if both.startswith(before):
        return both[len(before) :]
    return str(tokenizer.decode(new, skip_special_tokens=True))
