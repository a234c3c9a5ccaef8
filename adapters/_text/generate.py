"""Continue a prompt with a causal LM."""

from typing import Any

import torch

from deeploc.adapters._torch.device import seeded
from deeploc.adapters._torch.hooks import eager
from deeploc.adapters._torch.quiet import quiet
from deeploc.adapters._torch.read import eval_mode
from deeploc.core.adapter import Sampling
from deeploc.errors import AdapterError

from .causal import CausalLM
from .tokenize import Tokenizer, bare_ids


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
        temperature, without the top-k or top-p of the checkpoint.

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
    input_ids = torch.tensor([ids], device=lm.device)
    options = _options(lm, tokenizer, sampling, min(sampling.max_tokens, room))
    mask = torch.ones_like(input_ids)
    with seeded(sampling.seed), eval_mode(lm.model), eager(), quiet():
        output = lm.model.generate(input_ids, attention_mask=mask, **options)
    return _new_text(tokenizer, ids, output[0, len(ids) :].tolist())


def _options(lm: CausalLM, tokenizer: Tokenizer, sampling: Sampling, length: int) -> dict[str, Any]:
    """Return the options of ``generate``; nothing is padded, so any token can be the padding."""
    ends = lm.model.generation_config.eos_token_id
    ends = tokenizer.eos_token_id if ends is None else ends
    common = {"max_new_tokens": length, "eos_token_id": ends, "pad_token_id": 0}
    if sampling.temperature == 0:
        return {**common, "do_sample": False}
    whole = {"temperature": sampling.temperature, "top_k": 0, "top_p": 1.0}
    return {**common, "do_sample": True, **whole}


def _new_text(tokenizer: Tokenizer, prompt: list[int], new: list[int]) -> str:
    """Return the text of ``new``, with the leading space that decoding it alone would lose."""
    before = str(tokenizer.decode(prompt, skip_special_tokens=True))
    both = str(tokenizer.decode([*prompt, *new], skip_special_tokens=True))
    if both.startswith(before):
        return both[len(before) :]
    return str(tokenizer.decode(new, skip_special_tokens=True))
