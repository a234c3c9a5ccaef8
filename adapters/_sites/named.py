"""Sites by name: those that were found, and any other module by its path."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import cached_property

from torch import nn

from deeploc.core.units import KINDS, Layout, Site, parse_site_name
from deeploc.errors import AdapterError

Find = Callable[[Sequence[Site], bool], Layout]
"""Fills in the units and axes of sites; leaves out those that cannot be read if told to."""


class SiteNames:
    """Gives the sites of a model by name.

    Parameters
    ----------
    model
        The model.
    sites
        The sites that were found.
    find
        Fills in the units and axes of further sites. Its second argument says whether to leave
        out those that cannot be read; else they are an error.
    """

    def __init__(self, model: nn.Module, sites: Layout, find: Find) -> None:
        self._model = model
        self._sites = sites
        self._find = find
        self._known = {site.name: site for site in sites.sites}
        self._found: dict[str, list[Site]] = {}

    def named(self, wanted: Sequence[str]) -> Layout:
        """Return the sites that are wanted, see `deeploc.core.naming.NamesSites`.

        Parameters
        ----------
        wanted
            Kinds, globs over names, paths of modules.

        Raises
        ------
        AdapterError
            If one of them names nothing in the model.
        """
        chosen: dict[Site, None] = {}
        for pattern in wanted:
            hits = self._hits(pattern)
            chosen.update(dict.fromkeys(hits))
            if not hits and pattern not in KINDS:
                raise self._unknown(pattern)
        if not chosen and wanted:
            raise self._sites.without(wanted[0])
        return Layout(tuple(chosen))

    def with_those_of(self, layout: Layout) -> Layout:
        """Return the sites that were found, and those of a mask's layout that were named.

        Parameters
        ----------
        layout
            The sites of a mask; what the model does not have is left out.
        """
        paths = {path for path, _ in self._model.named_modules()}
        others = [
            site.name
            for site in layout.sites
            if site.name not in self._known and parse_site_name(site.name)[0] in paths
        ]
        named = [site for name in others for site in self._modules(name)]
        return Layout((*self._sites.sites, *named))

    def _hits(self, pattern: str) -> list[Site]:
        found = [s for s in self._sites.sites if s.kind == pattern or fnmatchcase(s.name, pattern)]
        if found and (pattern in self._sites.kinds or "." not in pattern):
            return found
        return list(dict.fromkeys([*found, *self._modules(pattern)]))

    def _modules(self, pattern: str) -> list[Site]:
        """Return the sites at the modules whose paths match, as far as they can be read."""
        if pattern not in self._found:
            self._found[pattern] = self._match(pattern)
        return self._found[pattern]

    def _match(self, pattern: str) -> list[Site]:
        path, call, tap = parse_site_name(pattern)
        paths = [p for p, _ in self._model.named_modules() if p and _matches(p, path)]
        is_path = path in paths  # and no glob, whose modules may be of any sort
        sites = [Site(each, "", 0, tap, call=call) for each in ([path] if is_path else paths)]
        others = [
            replace(site, kind=general_name(site.name))
            for site in sites
            if site.name not in self._known
        ]
        found = self._find(others, not is_path).sites if others else ()
        by_path: dict[str, list[Site]] = {}
        for each in found:
            by_path.setdefault(each.path, []).append(self._known.get(each.name, each))
        return [
            own
            for site in sites
            for own in ([self._known[site.name]] if site.name in self._known
                        else by_path.get(site.path, []))
        ]  # fmt: skip

    def _unknown(self, pattern: str) -> AdapterError:
        modules = (path for path, _ in self._model.named_modules() if path)
        names = [*self._sites.kinds, *map(general_name, [*self._known, *modules])]
        near = get_close_matches(pattern, dict.fromkeys(names), n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return AdapterError(
            f"this model has no site or module {pattern!r}; {hint}"
            f"kinds: {', '.join(self._sites.kinds)}; `deeploc sites MODEL` lists every site"
        )


class NamesModules(ABC):
    """The ability `deeploc.core.naming.NamesSites` of an adapter of a torch model."""

    @property
    @abstractmethod
    def sites(self) -> Layout:
        """The sites that were found."""

    @property
    @abstractmethod
    def _root(self) -> nn.Module:
        """The module in which the paths of the sites start."""

    @abstractmethod
    def _find(self, sites: Sequence[Site], lenient: bool) -> Layout:
        """Fill in further sites, see `Find`."""

    @cached_property
    def _names(self) -> SiteNames:
        return SiteNames(self._root, self.sites, self._find)

    def named(self, wanted: Sequence[str]) -> Layout:
        """Return sites by kind or name, or any module by its path.

        Parameters
        ----------
        wanted
            See `deeploc.core.naming.NamesSites`.

        Raises
        ------
        AdapterError
            If one of them names nothing in the model.
        """
        return self._names.named(wanted)


def general_name(name: str) -> str:
    """Return the name of a site with ``*`` for numbers: what equal places in all blocks share.

    Parameters
    ----------
    name
        Of a site.
    """
    return re.sub(r"(?<![^.])\d+(?![^.:#])", "*", name)


def _matches(path: str, pattern: str) -> bool:
    """Return whether every part of a path matches that of a pattern."""
    parts, wanted = path.split("."), pattern.split(".")
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))
