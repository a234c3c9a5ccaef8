"""Choose the adapter of a loaded model of texts: what it can do is seen, not looked up."""

import inspect
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from deeploc.adapters._torch.identity import weights_hash
from deeploc.core.adapter import ModelOptions
from deeploc.core.units import Site

from .adapter import HFAdapter
from .causal import CausalLM
from .encoder_decoder import EncoderDecoder
from .masked import MaskedAdapter
from .reading import TextAdapter
from .seq2seq import EncoderDecoderAdapter
from .tokenize import Tokenizer


def text_adapter(
    model: Any,
    tokenizer: Tokenizer,
    name: str,
    options: ModelOptions | None = None,
    sites: Sequence[str | Site] | None = None,
    *,
    origin: Mapping[str, Any] | None = None,
) -> TextAdapter:
    """Return the adapter that a model can be given.

    A causal LM scores from left to right and generates; a model that is not causal is never
    scored so. Of a type that predicts masked tokens it is a masked LM, if its tokenizer has a mask
    token; else it can be read only, as can a model without a head.

    Parameters
    ----------
    model
        A model of transformers that takes token ids.
    tokenizer
        Its tokenizer.
    name
        What the model is called in run folders.
    options
        How the model was loaded, and the batch size.
    sites
        Which sites to read; default: those that are discovered.
    origin
        Where the weights come from, for the identity.

    Raises
    ------
    AdapterError
        If the model cannot be run on a text alone.
    """
    common = (tokenizer, name, options, sites)
    if getattr(model.config, "quantization_config", None) is not None:
        # before any forward pass: the first ones may pack the weights anew
        origin = {**(origin or {}), "weights": weights_hash(model)}
    if _takes(model, "decoder_input_ids") and model.config.is_encoder_decoder:
        halves = EncoderDecoder(model)
        if halves.has_head:
            return EncoderDecoderAdapter(model, *common, origin=origin, lm=halves)
        return TextAdapter(halves, *common, origin=origin)
    lm = CausalLM(model)
    if lm.is_causal and hasattr(model, "generate"):
        return HFAdapter(model, *common, origin=origin, lm=lm)
    if not lm.is_causal and _predicts_masked(model, tokenizer):
        return MaskedAdapter(model, *common, origin=origin, lm=lm)
    return TextAdapter(lm, *common, origin=origin)


def _predicts_masked(model: Any, tokenizer: Tokenizer) -> bool:
    types = import_module("transformers").MODEL_FOR_MASKED_LM_MAPPING
    has_head = type(model.config) in types and model.get_output_embeddings() is not None
    mask = getattr(tokenizer, "mask_token_id", None)
    return has_head and mask is not None and mask < CausalLM(model).vocabulary


def _takes(model: Any, argument: str) -> bool:
    return argument in inspect.signature(model.forward).parameters
