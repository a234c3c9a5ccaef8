"""Plugins by name: the entry points of installed packages, deeploc's own included.

A plugin is imported when it is loaded, not when it is listed, so that a broken or slow plugin does
not affect the others.
"""

from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal, get_args

from deeploc.errors import DeeplocError, PluginError

Group = Literal["deeploc.adapters", "deeploc.tasks"]
GROUPS: tuple[Group, ...] = get_args(Group)


def available(group: Group) -> dict[str, EntryPoint]:
    """Return the installed plugins of a group by name, without importing any.

    Raises
    ------
    PluginError
        If two packages offer different plugins under one name.
    """
    plugins: dict[str, EntryPoint] = {}
    for entry in entry_points(group=group):
        if entry.name in plugins and entry.value != plugins[entry.name].value:
            raise PluginError(
                f"two packages offer {group} {entry.name!r}: "
                f"{plugins[entry.name].value} and {entry.value}; uninstall one of them"
            )
        plugins[entry.name] = entry
    return dict(sorted(plugins.items()))


def load(group: Group, name: str) -> Any:
    """Import and return a plugin.

    Parameters
    ----------
    group
        The kind of plugin.
    name
        Its name in that group.

    Raises
    ------
    PluginError
        If there is none of that name, or its import fails.
    """
    plugins = available(group)
    if name not in plugins:
        near = get_close_matches(name, plugins, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise PluginError(
            f"no plugin named {name!r} in {group}; {hint}installed: {', '.join(plugins) or 'none'}"
        )
    try:
        return plugins[name].load()
    except DeeplocError:
        raise
    except Exception as error:
        raise PluginError(
            f"plugin {name!r} ({origin(plugins[name])}, {plugins[name].value}) cannot be "
            f"imported: {type(error).__name__}: {error}; repair or uninstall that package"
        ) from error


def origin(entry: EntryPoint) -> str:
    """Return the name and version of the package that offers a plugin."""
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "unknown package"
