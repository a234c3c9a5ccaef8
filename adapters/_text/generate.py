"""Continue a prompt with a causal LM."""

from typing import Any

import torch

from deeploc.adapters._torch.device import seeded
from deeploc.adapters._torch.quiet import quiet
from deeploc.adapters._torch.read import evaluating
from deeploc.core.adapter import Sampling
from deeploc.errors import AdapterError

from .causal import CausalLM
from .tokens import Tokenizer, bare_ids


@torch.inference_mode()
def continuation(lm: CausalLM, tokenizer: Tokenizer, prompt: str, sampling: Sampling) -> str:
    """Return what the model writes after ``prompt``.

    Greedy at temperature 0; else drawn from the model's whole distribution at that temperature,
    without the top-k or top-p that a checkpoint may suggest.

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
    given = torch.tensor([ids], device=lm.device)
    how = _how(lm, tokenizer, sampling, min(sampling.max_tokens, room))
    with seeded(sampling.seed), evaluating(lm.model), quiet():
        written = lm.model.generate(given, attention_mask=torch.ones_like(given), **how)
    return _new_text(tokenizer, ids, written[0, len(ids) :].tolist())


def _how(lm: CausalLM, tokenizer: Tokenizer, sampling: Sampling, length: int) -> dict[str, Any]:
    """Return what ``generate`` is to do; padding is never seen, so any token will do for it."""
    ends = lm.model.generation_config.eos_token_id
    ends = tokenizer.eos_token_id if ends is None else ends
    common = {"max_new_tokens": length, "eos_token_id": ends, "pad_token_id": 0}
    if sampling.temperature == 0:
        return {**common, "do_sample": False}
    drawn = {"temperature": sampling.temperature, "top_k": 0, "top_p": 1.0}
    return {**common, "do_sample": True, **drawn}


def _new_text(tokenizer: Tokenizer, given: list[int], written: list[int]) -> str:
    """Return the text of ``written``, with the space that decoding it alone would lose."""
    before = str(tokenizer.decode(given, skip_special_tokens=True))
    both = str(tokenizer.decode([*given, *written], skip_special_tokens=True))
    if both.startswith(before):
        return both[len(before) :]
    return str(tokenizer.decode(written, skip_special_tokens=True))
