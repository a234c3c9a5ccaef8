"""Any causal language model of transformers, by hooks: ``hf:NAME`` or ``hf:/path``."""

import logging

from deeploc.core.adapter import ModelOptions

from ._text.adapter import HFAdapter
from ._text.causal import CausalLM
from ._text.load import check_loadable, load_model, load_tokenizer
from ._torch.checkpoint import locate
from ._torch.code import remote_code
from ._torch.device import check_unused

_log = logging.getLogger(__name__)


def load(name: str, options: ModelOptions, *, called: str | None = None) -> HFAdapter:
    """Load a causal LM.

    Parameters
    ----------
    name
        A name on the hub, or a local checkpoint folder; in either place a GGUF file
        (``/folder/FILE.gguf``, ``NAME:FILE.gguf``) or an adapter of peft, which is merged into its
        base model.
    options
        All but ``weights``.
    called
        What the model is called in run folders; default: ``name``.

    Raises
    ------
    AdapterError
        If it cannot be loaded, with the reason.
    """
    check_unused(f"hf:{name}", options, "weights")
    checkpoint = locate(name, options)
    check_loadable(name, checkpoint.source)
    tokenizer = load_tokenizer(name, checkpoint.tokenizer)
    model = load_model(name, checkpoint, options)
    origin = checkpoint.origin()
    adapter = HFAdapter(model, tokenizer, called or name, options, origin=origin)
    CausalLM(adapter.model).require_causal(name)
    if code := remote_code(model, model.config, tokenizer):
        _log.warning("the Python code in hf:%s was run: %s", name, ", ".join(code))
    return adapter
