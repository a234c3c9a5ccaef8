"""Load models by address, wrap modules, and list every plugin."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from deeploc import entry_points
from deeploc.contrast.plugin_names import STATISTICS
from deeploc.core.adapter import Adapter, ModelOptions
from deeploc.core.adapter_plugins import check_adapter
from deeploc.core.controls import CONTROLS
from deeploc.core.outline import Outline, OutlinesModel
from deeploc.entry_points import GROUPS, Group, Plugin, available
from deeploc.errors import AdapterError, DeeplocError, PluginError
from deeploc.generators.plugin import declared
from deeploc.generators.registry import GENERATORS
from deeploc.plugin_files import PluginFile, short

__all__ = ["GROUPS", "Group", "Listed", "LoadsAdapter", "listed", "load_model", "use", "using"]

BUILT_IN: Mapping[Group, Collection[str]] = {
    "deeploc.statistics": STATISTICS,
    "deeploc.controls": CONTROLS,
    "deeploc.generators": GENERATORS,
}
"""What deeploc has of its own in the groups where its parts are no entry points."""


@runtime_checkable
class LoadsAdapter(Protocol):
    """A plugin of the group ``adapters``: loads a model."""

    def __call__(self, name: str, options: ModelOptions, /) -> Adapter:
        """Return the model.

        Parameters
        ----------
        name
            What stands after the colon of the address ``ADAPTER:NAME``; may be empty.
        options
            Device, dtype, batch size, and whether the weights are random, with their seed.
        """
        ...


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
        If there is no such adapter, or it does not return one.
    """
    kind, colon, name = address.partition(":")
    if not colon or not name:
        raise AdapterError(
            f"model {address!r} has no adapter; write ADAPTER:NAME, e.g. hf:gpt2, "
            f"hf:/path/to/folder or reference:lm; installed adapters: "
            f"{', '.join(available('deeploc.adapters'))}"
        )
    return load_by(kind, name, options or ModelOptions())


def outline_model(address: str, options: ModelOptions) -> Outline | None:
    """Return the size of a model without loading it, None where its adapter cannot tell.

    Parameters
    ----------
    address, options
        As for `load_model`.

    Raises
    ------
    AdapterError, PluginError
        If there is no such model or adapter.
    """
    kind, _, name = address.partition(":")
    plugin = entry_points.find("deeploc.adapters", kind)
    load = plugin.load()
    if not isinstance(load, OutlinesModel):
        return None
    with plugin.guarded():
        return load.outline(name, options)


def load_by(kind: str, name: str, options: ModelOptions) -> Adapter:
    """Load a model by the name of its adapter and its own.

    Parameters
    ----------
    kind
        The adapter.
    name
        The model; may be empty.
    options
        Device, dtype, batch size and weights.

    Raises
    ------
    AdapterError, PluginError
        As `load_model`.
    """
    plugin = entry_points.find("deeploc.adapters", kind)
    load = plugin.load()
    with plugin.guarded():
        adapter: Adapter = load(name, options)
    check_adapter(adapter, plugin)
    plugin.made(adapter)
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


def use(paths: Sequence[Path]) -> None:
    """Put plugin files in force, from now on; what ``--plugin`` does.

    Parameters
    ----------
    paths
        Python files that declare plugins.

    Raises
    ------
    PluginError
        If one does not declare plugins, or one of its names is taken.
    """
    for path in paths:
        for group, names in PluginFile.read(path).names.items():
            for name in names:
                if name in BUILT_IN.get(group, ()):
                    raise PluginError(_shadowed(group, name, str(path)))
    entry_points.use_files(paths)


@contextmanager
def using(*paths: str | Path) -> Iterator[None]:
    """Have plugin files in force inside the context, beside those of the user's config file.

    Parameters
    ----------
    paths
        Python files that declare plugins.

    Raises
    ------
    PluginError
        If one does not declare plugins, or one of its names is taken.

    Examples
    --------
    >>> with using("my_statistic.py"):  # doctest: +SKIP
    ...     stat_map = deeploc.localize(adapter, deeploc.load_contrast("mine.yaml"))
    """
    with entry_points.without_files():
        use([Path(path) for path in paths])
        yield


@dataclass(frozen=True)
class Listed:
    """A plugin as it is listed.

    Parameters
    ----------
    group, name, version, origin
        What it is called, and the package or file that it comes from.
    state
        ``ok``, or the reason why it cannot be used.
    """

    group: str
    name: str
    version: str
    origin: str
    state: str = "ok"


def listed() -> list[Listed]:
    """Return every plugin with its state, deeploc's own included; imports each of them.

    Files of the user's config that declare nothing are listed without a name.
    """
    from importlib.metadata import version

    rows = [Listed("files", "-", "", str(path), why) for path, why in entry_points.broken_files()]
    own = version("deeploc")
    for group in GROUPS:
        built_in = BUILT_IN.get(group, ())
        rows += [Listed(short(group), name, own, "deeploc") for name in sorted(built_in)]
        rows += [_listed(plugin) for plugin in entry_points.offered() if plugin.group == group]
    return rows


def _listed(plugin: Plugin) -> Listed:
    state = "ok"
    try:
        plugin.load()
        if plugin.group == "deeploc.generators":
            declared(plugin)
        if plugin.name in BUILT_IN.get(plugin.group, ()):
            state = _shadowed(plugin.group, plugin.name, plugin.origin)
    except DeeplocError as error:
        state = str(error)
    return Listed(short(plugin.group), plugin.name, plugin.version, plugin.origin, state)


def _shadowed(group: Group, name: str, origin: str) -> str:
    return (
        f"{origin}: deeploc has {short(group)} {name!r} of its own, which are used; rename this one"
    )
