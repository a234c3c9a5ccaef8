"""Models by address, modules in hand, and every installed plugin."""

from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import EntryPoint
from typing import Any

from deeploc.core.adapter import Adapter, ModelOptions
from deeploc.entry_points import GROUPS, Group, available, load
from deeploc.errors import AdapterError


def load_model(address: str, options: ModelOptions | None = None) -> Adapter:
    """Load the model at ``ADAPTER:NAME``, e.g. ``hf:gpt2`` or ``reference:lm``.

    Raises
    ------
    AdapterError
        If the address has no adapter part, or the model cannot be loaded.
    PluginError
        If no such adapter is installed.
    """
    kind, colon, name = address.partition(":")
    if not colon or not name:
        raise AdapterError(
            f"model {address!r} has no adapter; write ADAPTER:NAME, e.g. hf:gpt2, "
            f"hf:/path/to/folder or reference:lm; installed adapters: "
            f"{', '.join(available('deeploc.adapters'))}"
        )
    adapter: Adapter = load("deeploc.adapters", kind)(name, options or ModelOptions())
    return adapter


def wrap(module: Any, **options: Any) -> Adapter:
    """Return an adapter for a model in hand, any ``torch.nn.Module``.

    Give ``tokenizer=`` for a causal language model, or ``preprocess=`` (stimulus contents to
    model inputs) for anything else; ``deeploc.adapters.module.wrap`` lists every option.
    """
    adapter: Adapter = import_module(available("deeploc.adapters")["torch"].module).wrap(
        module, **options
    )
    return adapter


def everything() -> Iterator[tuple[Group, EntryPoint]]:
    """Yield every installed plugin with its group, without importing any."""
    for group in GROUPS:
        for entry in available(group).values():
            yield group, entry
