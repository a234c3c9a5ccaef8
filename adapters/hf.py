"""Any causal language model of transformers, by hooks: ``hf:NAME`` or ``hf:/path/to/folder``."""

from deeploc.core.adapter import ModelOptions

from ._text.adapter import HFAdapter
from ._text.causal import CausalLM
from ._text.load import check_loadable, load_model, load_tokenizer
from ._torch.device import check_no_weights
from ._torch.hub import locate


def load(name: str, options: ModelOptions, *, called: str | None = None) -> HFAdapter:
    """Load a causal LM.

    Parameters
    ----------
    name
        A name on the hub, or a local checkpoint folder.
    options
        Device, dtype, batch size, untrained.
    called
        What the model is called in run folders; default: ``name``.

    Raises
    ------
    AdapterError
        If it cannot be loaded, with the reason.
    """
    check_no_weights(f"hf:{name}", options)
    source = locate(name)
    check_loadable(name, source)
    tokenizer = load_tokenizer(name, source)
    model = load_model(name, source, options)
    adapter = HFAdapter(model, tokenizer, called or name, options)
    CausalLM(adapter.model).require_causal(name)
    return adapter
