"""The user's config file and the plugins of others, as far as they are told without importing."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec

from deeploc import config, entry_points
from deeploc.doctor.problems import Problem
from deeploc.entry_points import Plugin
from deeploc.errors import PluginError
from deeploc.plugin_files import short


@dataclass(frozen=True)
class Offered:
    """A plugin of a package or of a file.

    Parameters
    ----------
    group, name, version, origin
        What it is called, and the package or file that it comes from.
    problem
        Why it cannot be used; empty: nothing is known against it.
    """

    group: str
    name: str
    version: str
    origin: str
    problem: str = ""


@dataclass(frozen=True)
class Plugins:
    """The config file and what is offered beside deeploc's own.

    Parameters
    ----------
    config
        The path of the config file.
    state
        ``none``: there is no such file; ``read``; or the reason why it cannot be read.
    offered
        The plugins of others, and the plugin files that declare nothing.
    """

    config: str
    state: str
    offered: tuple[Offered, ...] = ()


def plugins() -> Plugins:
    """Return the config file and the plugins; `deeploc plugins` also imports each of them."""
    path = config.config_file()
    try:
        config.plugin_paths()
        found = [_offered(plugin) for plugin in entry_points.offered() if not plugin.is_own]
        broken = [Offered("files", "-", "", str(p), why) for p, why in entry_points.broken_files()]
    except PluginError as error:
        return Plugins(str(path), str(error))
    return Plugins(str(path), "read" if path.exists() else "none", (*broken, *found))


def problems(found: Plugins) -> Iterator[Problem]:
    """Yield a problem if the config file cannot be read, and per plugin that cannot be used.

    Parameters
    ----------
    found
        The plugins.
    """
    if found.state not in ("none", "read"):
        what, _, remedy = found.state.partition("; ")
        yield Problem(what, remedy or f"repair or remove {found.config}")
    for plugin in found.offered:
        if plugin.problem:
            what, _, remedy = plugin.problem.partition("; ")
            yield Problem(what, remedy or f"repair or remove {plugin.origin}")


def _offered(plugin: Plugin) -> Offered:
    problem = plugin.problem
    if not problem and plugin.file is None and not _exists(plugin.module):
        problem = f"{plugin.title}: there is no module {plugin.module}; reinstall {plugin.origin}"
    return Offered(short(plugin.group), plugin.name, plugin.version, plugin.origin, problem)


def _exists(module: str) -> bool:
    """Return whether the top-level package of a module is there; nothing is imported."""
    try:
        return find_spec(module.partition(".")[0]) is not None
    except (ImportError, ValueError):
        return False
