"""Load models by address, wrap modules, and list every installed plugin."""

from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import EntryPoint
from typing import Any

from deeploc.core.adapter import Adapter, ModelOptions
from deeploc.entry_points import GROUPS, Group, available, load
from deeploc.errors import AdapterError


def load_model(address: str, options: ModelOptions | None = None) -> Adapter:
    """Load a model.

    Parameters
    ----------
    address
        ``ADAPTER:NAME``, e.g. ``hf:gpt2`` or ``reference:lm``.
    options
        Device, dtype, batch size and weights; default: `ModelOptions` without arguments.

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
    """Return an adapter for any ``torch.nn.Module``.

    Parameters
    ----------
    module
        The module; it is not changed.
    options
        ``tokenizer=`` for a model of transformers that takes token ids, ``transform=`` (image to
        tensor) for a network of images, or ``preprocess=`` (stimulus contents to inputs) for any
        other; ``deeploc.adapters.module.wrap`` documents all options.

    Raises
    ------
    AdapterError
        If the options do not fit the module.
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
