"""What decides the activations of a causal language model, as JSON."""

import json
from typing import Any

from deeploc.adapters._torch.identity import describe_module, json_hash

from .tokens import Tokenizer, rule, tokens_hash

_TRIVIAL = {"_name_or_path", "transformers_version", "dtype", "torch_dtype", "_commit_hash"}
"""What a config says that does not change a number (the dtype is told on its own)."""


def describe_causal_lm(model: Any, tokenizer: Tokenizer) -> dict[str, Any]:
    """Return what decides the activations of a causal LM beside its weights."""
    config = {k: v for k, v in model.config.to_dict().items() if k not in _TRIVIAL}
    described = {
        **describe_module(model),
        "config": json_hash(config),
        "attention": getattr(model.config, "_attn_implementation", None),
        "tokenizer": type(tokenizer).__name__,
        "tokenizer_hash": json_hash(_tokenizer_content(tokenizer)),
        "tokenizer_probes": tokens_hash(tokenizer),
        "bos": rule(tokenizer),
    }
    revision = getattr(model.config, "_commit_hash", None)
    return described | ({"revision": revision} if revision else {})


def _tokenizer_content(tokenizer: Tokenizer) -> Any:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return sorted(tokenizer.get_vocab().items())
    content = json.loads(backend.to_str())
    # set anew by every call, so not a property of the tokenizer
    return {key: value for key, value in content.items() if key not in ("truncation", "padding")}
