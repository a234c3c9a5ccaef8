"""Identity of a causal language model and its tokenizer, as JSON."""

import json
from typing import Any

from deeploc.adapters._torch.code import remote_code
from deeploc.adapters._torch.identity import describe_module, json_hash

from .tokenize import Tokenizer, describe_special_tokens, tokens_hash

_TRIVIAL = {"_name_or_path", "transformers_version", "dtype", "torch_dtype", "_commit_hash"}
"""Entries of a config that change no activation (the dtype has an entry of its own)."""


def describe_causal_lm(model: Any, tokenizer: Tokenizer) -> dict[str, Any]:
    """Return all that decides the activations of a causal LM: model, weights, tokenizer.

    Parameters
    ----------
    model
        The model with its head.
    tokenizer
        Its tokenizer.
    """
    config = {k: v for k, v in model.config.to_dict().items() if k not in _TRIVIAL}
    described = {
        **describe_module(model),
        "config": json_hash(config),
        "attention": getattr(model.config, "_attn_implementation", None),
        "tokenizer": type(tokenizer).__name__,
        "tokenizer_hash": json_hash(_tokenizer_content(tokenizer)),
        "tokenizer_probes": tokens_hash(tokenizer),
        "bos": describe_special_tokens(tokenizer),
    }
    if code := remote_code(model, model.config, tokenizer):
        described["remote_code"] = code
    revision = getattr(model.config, "_commit_hash", None)
    return described | ({"revision": revision} if revision else {})


def _tokenizer_content(tokenizer: Tokenizer) -> Any:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return sorted(tokenizer.get_vocab().items())
    content = json.loads(backend.to_str())
    # every call sets these two, so they are no property of the tokenizer
    return {key: value for key, value in content.items() if key not in ("truncation", "padding")}
