"""One plugin: where it comes from, what identifies it, how it is loaded, and what it did wrong.

Every group is checked in one way: what a plugin takes when it is loaded (`check_takes`), what it
raises (`Plugin.guarded`), and what it returns (`Plugin.wrong`). Objects that a plugin made are
known by it (`maker_of`), so that what they do later is told of it, too.
"""

import hashlib
import inspect
import sys
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from deeploc.errors import DeeplocError, MaskError, PluginError, described, wrong
from deeploc.plugin_files import Group, PluginFile, place_in, short

_OWN = "deeploc"

_TAKES: Mapping[Group, tuple[str, ...]] = {
    "deeploc.adapters": ("name", "options"),
    "deeploc.tasks": ("options", "context"),
    "deeploc.statistics": ("positive", "negative"),
    "deeploc.controls": ("mask", "ranking", "seed"),
}
"""What a plugin is called with; generators declare options of their own."""

_MAKERS: "dict[int, tuple[weakref.ref[Any], Plugin]]" = {}
"""Number of an object -> the object, and the plugin that made it."""


@dataclass(frozen=True)
class Plugin:
    """A plugin that is offered, not yet loaded.

    Parameters
    ----------
    group, name
        What it is called, and where.
    source
        The entry point of a package, or the file that declares it.
    problem
        Why it cannot be used; empty: nothing is known against it.
    """

    group: Group
    name: str
    source: EntryPoint | PluginFile
    problem: str = ""

    @property
    def file(self) -> PluginFile | None:
        """The file that declares it, None for one of a package."""
        return self.source if isinstance(self.source, PluginFile) else None

    @property
    def module(self) -> str:
        """The module of a package's plugin; empty for one of a file."""
        return "" if isinstance(self.source, PluginFile) else self.source.module

    @property
    def origin(self) -> str:
        """The package, or the path of the file."""
        if isinstance(self.source, PluginFile):
            return str(self.source.path)
        return self.source.dist.name if self.source.dist else "unknown package"

    @property
    def version(self) -> str:
        """The version of the package; of a file the first digits of its hash."""
        if isinstance(self.source, PluginFile):
            return self.source.sha256[:8]
        return self.source.dist.version if self.source.dist else ""

    @property
    def is_own(self) -> bool:
        """Whether deeploc itself offers it."""
        return self.file is None and self.origin == _OWN

    @property
    def title(self) -> str:
        """What messages call it."""
        return (
            f"{short(self.group)} plugin {self.name!r} ({f'{self.origin} {self.version}'.strip()})"
        )

    @property
    def identity(self) -> dict[str, str]:
        """What decides what it does, as JSON: name, package and version, and a hash of its code."""
        if isinstance(self.source, PluginFile):
            return {"name": self.name, "code": self.source.sha256}
        made = {"name": self.name, "package": self.origin, "version": self.version}
        return {**made, "code": _source_hash(self.source.module)}

    def load(self) -> Any:
        """Import and return it.

        Raises
        ------
        PluginError
            If it cannot be used or imported, or is no function of what it will be given.
        """
        if self.problem:
            raise PluginError(self.problem)
        if isinstance(self.source, PluginFile):
            value = self.source.load(self.group, self.name)
        else:
            value = _imported(self, self.source)
        if not callable(value):
            raise PluginError(
                f"{self.title} is {type(value).__name__} {str(value)[:40]!r}; it must be a "
                "function or a class"
            )
        if not self.is_own and self.group in _TAKES:
            check_takes(value, self.title, *_TAKES[self.group])
        return value

    @contextmanager
    def guarded(self, *passing: type[Exception]) -> Iterator[None]:
        """Turn an exception of somebody else's code into one line that names file and line.

        Parameters
        ----------
        passing
            Exceptions that the caller handles.

        Raises
        ------
        PluginError
            For any other exception than a lack of memory and those of deeploc, which the plugin
            may raise, too (but for a mask that does not fit); deeploc's own plugins are not
            guarded.
        """
        try:
            yield
        except Exception as error:
            may_pass = isinstance(error, (DeeplocError, MemoryError, *passing))
            if self.is_own or (may_pass and not isinstance(error, MaskError)):
                raise
            raise self.failed(error) from error

    def failed(self, error: Exception) -> PluginError:
        """Return the error for an exception that its code raised, with the line in its file.

        Parameters
        ----------
        error
            The exception.
        """
        return PluginError(f"{self.title} failed: {self._told(error)}")

    def wrong(self, returned: Any, right: str) -> PluginError:
        """Return the error for what it, or an object that it made, returned.

        Parameters
        ----------
        returned
            What it returned.
        right
            What it must return.
        """
        return wrong(self.title, returned, right)

    def made(self, thing: Any) -> None:
        """Remember that it made an object, see `maker_of`.

        Parameters
        ----------
        thing
            An adapter or a task.
        """
        number = id(thing)
        with suppress(TypeError):  # of a class with slots, which cannot be told apart later
            _MAKERS[number] = weakref.ref(thing, lambda _: _MAKERS.pop(number, None)), self

    def owns(self, file: str, module: str) -> bool:
        """Return whether a line of a traceback is its own code.

        Parameters
        ----------
        file, module
            Where the line stands.
        """
        if self.file:
            return file == str(self.file.path)
        return module.partition(".")[0] == self.module.partition(".")[0]

    def _told(self, error: Exception) -> str:
        module = sys.modules.get(self.module)
        path = str(self.file.path) if self.file else str(getattr(module, "__file__", None))
        line = place_in(error.__traceback__, path)
        what = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return f"{what} (line {line})" if line else what


def maker_of(thing: Any) -> Plugin | None:
    """Return the plugin that made an object; None: it was handed over, or is deeploc's own.

    Parameters
    ----------
    thing
        An adapter or a task.
    """
    known, plugin = _MAKERS.get(id(thing), (None, None))
    return plugin if known is not None and known() is thing else None


def check_takes(function: Any, title: str, *names: str) -> None:
    """Refuse a function that cannot be called with what it will be given.

    Parameters
    ----------
    function
        A function, a method or a class.
    title
        What messages call it.
    names
        What the arguments are called; they are given by position.

    Raises
    ------
    PluginError
        If it is no function, or takes more of them, or fewer.
    """
    right = f"it must take ({', '.join(names)})"
    if not callable(function):
        raise PluginError(f"{title} is {described(function)}; {right}")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # of some functions that are not Python it is not known
        return
    try:
        signature.bind(*names)
    except TypeError:
        takes = ", ".join(map(str, signature.parameters))
        raise PluginError(f"{title} takes ({takes}); {right}") from None


def _imported(plugin: Plugin, entry: EntryPoint) -> Any:
    try:
        return entry.load()
    except DeeplocError:
        raise
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"plugin {entry.name!r} ({plugin.origin} {plugin.version}, {entry.value}) cannot be "
            f"imported: {type(error).__name__}: {error}; repair or uninstall that package"
        ) from error


@cache
def _source_hash(module: str) -> str:
    """Return a hash of every Python file of the top-level package or module of ``module``.

    Nothing is imported. It is the hash of nothing where the source cannot be found.

    Parameters
    ----------
    module
        The dotted name of a module.
    """
    digest = hashlib.sha256()
    for name, file in _sources(module.partition(".")[0]):
        digest.update(name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def _sources(package: str) -> list[tuple[str, Path]]:
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):  # nothing of that name, or it was made without a spec
        return []
    if spec is None:
        return []
    if spec.submodule_search_locations is None:
        file = Path(spec.origin or "")
        return [(file.name, file)] if file.is_file() else []
    folders = [Path(folder) for folder in spec.submodule_search_locations]
    found = [(file.relative_to(d).as_posix(), file) for d in folders for file in d.rglob("*.py")]
    return sorted(found)
