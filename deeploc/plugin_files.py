"""Plugins in one Python file: which it declares, told without running it, and how they are loaded.

A file declares its plugins in one dictionary at its top level, group by group::

    plugins = {"adapters": {"mine": load}, "statistics": {"mean-difference": mean_difference}}

The names are read from the text of the file, so that listing plugins runs no code. The very bytes
that were read are what is run later and what identifies the plugin.
"""

import ast
import hashlib
import linecache
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Literal, get_args

from deeploc.errors import DeeplocError, PluginError, nearest

Group = Literal[
    "deeploc.adapters",
    "deeploc.tasks",
    "deeploc.statistics",
    "deeploc.controls",
    "deeploc.generators",
]
GROUPS: tuple[Group, ...] = get_args(Group)
"""The entry-point groups of packages; a file leaves ``deeploc.`` out."""

_DECLARATION = 'plugins = {"adapters": {"mine": load}}'


@dataclass(frozen=True)
class PluginFile:
    """A Python file that declares plugins.

    Parameters
    ----------
    path
        The file, absolute.
    code
        Its content.
    names
        Group -> the names that are declared.
    """

    path: Path
    code: bytes
    names: Mapping[Group, tuple[str, ...]]

    @classmethod
    def read(cls, path: Path) -> "PluginFile":
        """Return what a file declares, without running it.

        Parameters
        ----------
        path
            The file.

        Raises
        ------
        PluginError
            If it cannot be read, is no Python, or does not declare plugins; names the line.
        """
        try:
            code = path.read_bytes()
        except OSError as error:
            what = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
            raise PluginError(
                f"plugin file {path}: {what}; name a Python file that declares plugins"
            ) from None
        return cls(path.absolute(), code, _declared(path, code))

    @cached_property
    def sha256(self) -> str:
        """The hash of its code."""
        return hashlib.sha256(self.code).hexdigest()

    def load(self, group: Group, name: str) -> Any:
        """Run the file, once in a process, and return one of its plugins.

        Parameters
        ----------
        group, name
            One that it declares.

        Raises
        ------
        PluginError
            If the file fails, or no longer holds the plugin when it has run.
        """
        module, key = _run(self.path, self.code), short(group)
        try:
            return module.plugins[key][name]
        except (AttributeError, KeyError, TypeError):
            raise PluginError(
                f"{self.path}: `plugins` holds no {key} {name!r} after the file has run; declare "
                "plugins once and change them nowhere"
            ) from None


def short(group: Group) -> str:
    """Return what a file calls a group: ``adapters``."""
    return group.removeprefix("deeploc.")


def place_in(trace: TracebackType | None, path: str) -> int | None:
    """Return the innermost line of a file that a traceback passes; None: it does not.

    Parameters
    ----------
    trace
        The traceback of an exception.
    path
        The file, as the traceback names it.
    """
    line = None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == path:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


@cache
def _run(path: Path, code: bytes) -> ModuleType:
    """Return the file as a module; equal code is run once in a process."""
    # the name is part of the identity of classes: it is the same wherever the file lies
    name = f"deeploc_plugin_{hashlib.sha256(code).hexdigest()[:16]}"
    module = ModuleType(name)
    module.__file__ = str(path)
    linecache.checkcache(str(path))
    sys.modules[name] = module  # dataclasses and pickle look their module up
    try:
        exec(compile(code, str(path), "exec"), module.__dict__)
    except DeeplocError:
        raise
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise PluginError(_failure(path, error)) from error
    return module


def _failure(path: Path, error: BaseException) -> str:
    line = place_in(error.__traceback__, str(path))
    where = f"{path}:{line}" if line else str(path)
    what = f"{where}: {type(error).__name__}: {' '.join(str(error).split())}"
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if missing and (path.parent / f"{missing.partition('.')[0]}.py").exists():
        return (
            f"{what}; a plugin file stands alone and does not import its neighbours: move that "
            "code into it, or make a package of both"
        )
    return f"{what}; repair the file"


def _declared(path: Path, code: bytes) -> dict[Group, tuple[str, ...]]:
    declarations = list(_assigned(_parsed(path, code).body))
    if not declarations:
        raise PluginError(f"{path}: declares no plugins; add {_DECLARATION}")
    if len(declarations) > 1:
        line = declarations[1].lineno
        raise PluginError(f"{path}:{line}: declares plugins a second time; declare them once")
    known, found = {short(group): group for group in GROUPS}, {}
    for key, value in _items(path, declarations[0], "plugins"):
        if key not in known:
            raise PluginError(
                f"{path}:{value.lineno}: there is no group {key!r} of plugins; "
                f"{nearest(key, known)}groups: {', '.join(known)}"
            )
        found[known[key]] = tuple(name for name, _ in _items(path, value, f'plugins["{key}"]'))
    if not any(found.values()):
        line = declarations[0].lineno
        raise PluginError(f"{path}:{line}: `plugins` is empty; write e.g. {_DECLARATION}")
    return found


def _parsed(path: Path, code: bytes) -> ast.Module:
    try:
        return ast.parse(code, str(path))
    except SyntaxError as error:
        where = f"{path}:{error.lineno}" if error.lineno else str(path)
        raise PluginError(f"{where}: is no Python: {error.msg}; repair the file") from None
    except ValueError as error:  # a NUL
        raise PluginError(f"{path}: is no Python: {error}; repair the file") from None


def _assigned(body: Sequence[ast.stmt]) -> Iterator[ast.expr]:
    """Yield what is assigned to ``plugins`` at the top level."""
    for statement in body:
        targets: Sequence[ast.expr] = ()
        if isinstance(statement, ast.Assign):
            targets = statement.targets
        elif isinstance(statement, ast.AnnAssign):
            targets = [statement.target]
        named = any(isinstance(t, ast.Name) and t.id == "plugins" for t in targets)
        value = getattr(statement, "value", None)
        if named and value is not None:
            yield value


def _items(path: Path, value: ast.expr, what: str) -> Iterator[tuple[str, ast.expr]]:
    """Yield the keys and values of a dictionary that is written out."""
    if not isinstance(value, ast.Dict):
        raise PluginError(
            f"{path}:{value.lineno}: {what} must be a dictionary that is written out, since it is "
            f"read without running the file; write e.g. {_DECLARATION}"
        )
    seen: set[str] = set()
    for key, item in zip(value.keys, value.values, strict=True):
        if not (isinstance(key, ast.Constant) and isinstance(key.value, str)):
            raise PluginError(
                f"{path}:{item.lineno}: a key of {what} is no text in quotes; write e.g. "
                f"{_DECLARATION}"
            )
        if key.value in seen:
            raise PluginError(
                f"{path}:{key.lineno}: {what} holds {key.value!r} twice; rename one of them"
            )
        seen.add(key.value)
        yield key.value, item
