"""Plugins by name: entry points of installed packages, deeploc's own included, and plugin files.

A plugin is imported when it is loaded, not when it is listed, so that a broken or slow plugin does
not affect the others.
"""

import logging
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from deeploc import config
from deeploc.errors import PluginError, nearest
from deeploc.plugin import Plugin
from deeploc.plugin_files import GROUPS, Group, PluginFile, short

__all__ = ["GROUPS", "NAME", "Group", "Plugin", "available", "find", "load", "offered"]

NAME = r"[A-Za-z][A-Za-z0-9_]*(-[A-Za-z0-9_]+)*"
"""What plugins can be called: contrast files, addresses and scores.csv hold their names."""

OF_A_FILE = "those of a file need --plugin FILE.py"
"""What messages say to a name that is not known: it may be that of a plugin file."""


@dataclass
class _Files:
    """The plugin files that are in force in this process."""

    given: tuple[PluginFile, ...] = ()
    configured: tuple[PluginFile, ...] | None = None
    broken: list[tuple[Path, str]] = field(default_factory=list)

    def read_config(self) -> None:
        """Read the files of the config file once; one that is broken is one warning."""
        if self.configured is not None:
            return
        read: list[PluginFile] = []
        for path in config.plugin_paths():
            try:
                read.append(PluginFile.read(path))
            except PluginError as error:
                self.broken.append((path, str(error)))
                logging.getLogger(__name__).warning("warning: plugin file left out: %s", error)
        self.configured = tuple(read)


_files = _Files()


def files() -> list[PluginFile]:
    """Return the plugin files in force, each once: those given, then those of the config file."""
    _files.read_config()
    known = {file.path: file for file in (*(_files.configured or ()), *_files.given)}
    return list(known.values())


def given_files() -> tuple[PluginFile, ...]:
    """Return the plugin files that were put in force by `use_files`."""
    return _files.given


def broken_files() -> list[tuple[Path, str]]:
    """Return the files of the config file that declare nothing, each with the reason."""
    _files.read_config()
    return list(_files.broken)


def use_files(paths: Sequence[Path]) -> None:
    """Put plugin files in force, from now on.

    Parameters
    ----------
    paths
        Python files that declare plugins.

    Raises
    ------
    PluginError
        If one does not declare plugins, or one of its names is taken; nothing is then changed.
    """
    read = [PluginFile.read(path) for path in paths]
    fresh = {file.path for file in read}
    before = _files.given
    _files.given = (*(file for file in before if file.path not in fresh), *read)
    problems = [p.problem for p in offered() if p.problem and p.file in read]
    if problems:
        _files.given = before
        raise PluginError(problems[0])


@contextmanager
def without_files() -> Iterator[None]:
    """Begin without plugin files inside the context, and restore those before it afterwards."""
    global _files  # which files are in force is the state of the process
    before, _files = _files, _Files()
    try:
        yield
    finally:
        _files = before


def offered() -> list[Plugin]:
    """Return every plugin of packages and files by group and name, without importing any.

    Of several that have one name deeploc's own can be used; without one, none of them can.
    """
    found = [plugin for group in GROUPS for plugin in _offered(group)]
    return sorted(found, key=lambda p: (GROUPS.index(p.group), p.name, not p.is_own))


def available(group: Group) -> dict[str, Plugin]:
    """Return the plugins of a group by name, without importing any.

    Parameters
    ----------
    group
        The group.
    """
    plugins: dict[str, Plugin] = {}
    for plugin in sorted(_offered(group), key=lambda p: (p.name, not p.is_own)):
        plugins.setdefault(plugin.name, plugin)
    return plugins


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
    return find(group, name).load()


def find(group: Group, name: str) -> Plugin:
    """Return the plugin of a name, not yet imported.

    Parameters
    ----------
    group, name
        What it is called, and where.

    Raises
    ------
    PluginError
        If there is none of that name.
    """
    plugins = available(group)
    if name not in plugins:
        raise PluginError(
            f"no plugin named {name!r} in {group}; {nearest(name, plugins)}"
            f"installed: {', '.join(plugins) or 'none'}; {OF_A_FILE}"
        )
    return plugins[name]


def at_fault(error: Exception) -> Plugin | None:
    """Return the plugin whose code raised an exception; None where it was other code.

    That is the one whose line is the innermost of those of plugins and of deeploc: what a plugin
    calls of other packages counts as its own.

    Parameters
    ----------
    error
        The exception.
    """
    foreign = [plugin for plugin in offered() if not plugin.is_own]
    found, trace = None, error.__traceback__
    while trace is not None:
        file, module = trace.tb_frame.f_code.co_filename, trace.tb_frame.f_globals.get("__name__")
        owner = next((plugin for plugin in foreign if plugin.owns(file, str(module))), None)
        if owner or str(module).partition(".")[0] == "deeploc":
            found = owner
        trace = trace.tb_next
    return found


def _offered(group: Group) -> list[Plugin]:
    found = [Plugin(group, entry.name, entry) for entry in _installed(group, tuple(sys.path))]
    for file in files():
        found += [Plugin(group, name, file) for name in file.names.get(group, ())]
    return [replace(plugin, problem=_problem(plugin, found)) for plugin in found]


def _problem(plugin: Plugin, found: Sequence[Plugin]) -> str:
    """Return why a plugin cannot be used, as far as its name tells."""
    if not re.fullmatch(NAME, plugin.name):
        return (
            f"{plugin.title} has no usable name; use letters, digits, '_' and '-', "
            "beginning with a letter"
        )
    others = [p for p in found if p.name == plugin.name and p is not plugin]
    if plugin.is_own or not others:
        return ""
    return (
        f"two plugins are called {plugin.name!r} in {short(plugin.group)}: one of "
        f"{others[0].origin} and one of {plugin.origin}; rename one, or leave it out"
    )


@lru_cache(maxsize=16)
def _installed(group: Group, _: tuple[str, ...]) -> list[EntryPoint]:
    """Return the entry points of a group, each once; found again when ``sys.path`` changes."""
    found = entry_points(group=group)
    return list({(e.name, e.value, e.dist.name if e.dist else ""): e for e in found}.values())
