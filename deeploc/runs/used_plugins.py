"""The plugins that a run rests on: in the keys of its results, and in its manifest."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from deeploc import entry_points, plugins
from deeploc.contrast.model import Contrast
from deeploc.contrast.plugin_names import STATISTICS
from deeploc.entry_points import Group
from deeploc.errors import PluginError, RunError
from deeploc.plugin_files import PluginFile
from deeploc.runs.records import PluginFileRecord


def identity_of(group: Group, name: str) -> dict[str, str] | None:
    """Return what decides what a plugin does; None for deeploc's own, and where there is none.

    Parameters
    ----------
    group, name
        What it is called, and where.
    """
    plugin = entry_points.available(group).get(name)
    return None if plugin is None or plugin.is_own else plugin.identity


def identities(group: Group, names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return the identities of those of some plugins that are not deeploc's own.

    Parameters
    ----------
    group
        Their group.
    names
        Their names.
    """
    found = {name: identity_of(group, name) for name in names}
    return {name: identity for name, identity in found.items() if identity is not None}


def adapter_of(address: str) -> str:
    """Return the name of the adapter in an address ``ADAPTER:NAME``."""
    return address.partition(":")[0]


def recorded(address: str, contrast: Contrast) -> list[dict[str, str]]:
    """Return the plugin files that a run rests on, as its manifest records them.

    Parameters
    ----------
    address
        The model.
    contrast
        Its statistic, controls, tasks and generators.
    """
    used = [entry_points.available(group).get(name) for group, name in _named(address, contrast)]
    files = {plugin.file.path: plugin.file for plugin in used if plugin and plugin.file}
    return [{"file": str(path), "sha256": file.sha256} for path, file in files.items()]


def use_recorded(files: Sequence[PluginFileRecord], folder: Path) -> None:
    """Put the plugin files of a run in force.

    A file that was given (``--plugin``) and is called the same, or declares a plugin of the same
    name, takes the place of the recorded one: it may have moved, or be another version, which the
    keys of the results tell.

    Parameters
    ----------
    files
        What `recorded` returned.
    folder
        The run, for messages.

    Raises
    ------
    RunError
        If a file is gone or has changed.
    """
    given = entry_points.given_files()
    for file in files:
        path = Path(file.file)
        if any(other.path.name == path.name or other.sha256 == file.sha256 for other in given):
            continue
        if not path.exists():
            if given:  # it may be one of these under another name
                continue
            raise RunError(
                f"{folder}: its plugin file {path} is gone; name where it is now with --plugin FILE"
            )
        try:
            read = PluginFile.read(path)
        except PluginError as error:
            raise RunError(f"{folder}: its plugin file has changed: {error}") from None
        if any(set(_declared(read)) & set(_declared(other)) for other in given):
            continue
        if read.sha256 != file.sha256:
            raise RunError(
                f"{folder}: its plugin file {path} has changed since; restore it, or name it with "
                f"--plugin {path} to use it as it is now"
            )
        plugins.use([path])


def _declared(file: PluginFile) -> list[tuple[Group, str]]:
    return [(group, name) for group, names in file.names.items() for name in names]


def _named(address: str, contrast: Contrast) -> Iterator[tuple[Group, str]]:
    yield "deeploc.adapters", adapter_of(address)
    if contrast.statistic not in STATISTICS:
        yield "deeploc.statistics", contrast.statistic
    for name in contrast.ablate.controls.of_plugins:
        yield "deeploc.controls", name
    for name, _ in contrast.tasks:
        yield "deeploc.tasks", name
    for name in _generators(contrast.to_json()):
        yield "deeploc.generators", name


def _generators(value: Any) -> Iterator[str]:
    """Yield the generators that a contrast names, for its conditions or for items of its tasks."""
    if isinstance(value, Mapping):
        builtin = value.get("builtin")
        name = builtin.get("generator") if isinstance(builtin, Mapping) else builtin
        if isinstance(name, str):
            yield name
    parts = value.values() if isinstance(value, Mapping) else value
    if isinstance(parts, Iterable) and not isinstance(parts, str):
        for part in parts:
            yield from _generators(part)
