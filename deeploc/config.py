"""The user's config file: plugin files that every command knows.

It is ``deeploc/config.yaml`` in the user's config folder (Linux: ``~/.config``), or the file that
the environment variable ``DEEPLOC_CONFIG`` names.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deeploc.errors import PluginError, nearest

VARIABLE = "DEEPLOC_CONFIG"
"""The environment variable that names another file."""

_KEYS = ("plugins",)


def config_file() -> Path:
    """Return where the config file is, or would be."""
    import platformdirs

    named = os.environ.get(VARIABLE)
    if named:
        return Path(named).expanduser()
    return platformdirs.user_config_path("deeploc", appauthor=False) / "config.yaml"


def plugin_paths() -> list[Path]:
    """Return the plugin files of the config file; none where there is no such file.

    Relative paths start at the folder of the config file, ``~`` is the user's home.

    Raises
    ------
    PluginError
        If it cannot be read, is no YAML, or holds anything but plugin files; names the line. A
        file that `VARIABLE` names must exist.
    """
    path = config_file()
    if not path.exists():
        if os.environ.get(VARIABLE):
            raise PluginError(f"{path}: no such file; {VARIABLE} must name a config file")
        return []
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PluginError(f"{path}: cannot be read: {error}; repair or remove it") from None
    return [path.absolute().parent / Path(name).expanduser() for name in _plugins(path, text)]


def _plugins(path: Path, text: str) -> Iterator[str]:
    import yaml

    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        what = getattr(error, "problem", None) or "not YAML"
        raise PluginError(f"{path}{line}: {what}; write `plugins: [FILE.py]`") from None
    if root is None:
        return
    if not isinstance(root, yaml.MappingNode):
        raise PluginError(f"{path}:1: must be a mapping; write `plugins: [FILE.py]`")
    for key, value in root.value:
        line = key.start_mark.line + 1
        if key.value not in _KEYS:
            hint = nearest(str(key.value), _KEYS)
            raise PluginError(
                f"{path}:{line}: unknown key {key.value!r}; {hint}allowed: {', '.join(_KEYS)}"
            )
        yield from _names(path, line, value)


def _names(path: Path, line: int, value: Any) -> Iterator[str]:
    import yaml

    items = value.value if isinstance(value, yaml.SequenceNode) else [value]
    for item in items:
        if not isinstance(item, yaml.ScalarNode) or item.tag != "tag:yaml.org,2002:str":
            raise PluginError(
                f"{path}:{line}: plugins must be paths of Python files; write `plugins: [FILE.py]`"
            )
        yield item.value
