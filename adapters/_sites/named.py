"""Sites by name: those that were found, and any other module by its path."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from difflib import get_close_matches
from fnmatch import fnmatchcase

from torch import nn

from deeploc.adapters._torch.read import eval_mode
from deeploc.core.units import KINDS, Layout, Site, parse_site_name
from deeploc.errors import AdapterError

from .discover import Run, SiteFinder


class SiteNames:
    """Gives the sites of a model by name.

    Parameters
    ----------
    model
        The model.
    sites
        The sites that were found.
    run
        Makes one small forward pass.
    n_stimuli
        As in `discover`.
    """

    def __init__(
        self, model: nn.Module, sites: Layout, run: Run, n_stimuli: int | None = None
    ) -> None:
        self._model = model
        self._sites = sites
        self._run = run
        self._n = n_stimuli
        self._known = {site.name: site for site in sites.sites}
        self._found: dict[str, list[Site]] = {}
        self._finder: SiteFinder | None = None

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
            self._found[pattern] = list(self._match(pattern))
        return self._found[pattern]

    def _match(self, pattern: str) -> Iterator[Site]:
        path, call, tap = parse_site_name(pattern)
        paths = [p for p, _ in self._model.named_modules() if p and _matches(p, path)]
        if path in paths and pattern not in self._known:
            paths = [path]
            self._tracing.check(path)
        for each in paths:
            site = Site(each, "", 0, tap, call=call)
            if site.name in self._known:
                yield self._known[site.name]
            elif each in self._tracing:
                sized = self._tracing.sized(replace(site, kind=general_name(site.name)))
                yield from [sized] if sized.n_units else []

    @property
    def _tracing(self) -> SiteFinder:
        if self._finder is None:
            with eval_mode(self._model):
                self._finder = SiteFinder(self._model, self._run, self._n)
        return self._finder

    def _unknown(self, pattern: str) -> AdapterError:
        modules = (path for path, _ in self._model.named_modules() if path)
        names = [*self._sites.kinds, *map(general_name, [*self._known, *modules])]
        near = get_close_matches(pattern, dict.fromkeys(names), n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return AdapterError(
            f"this model has no site or module {pattern!r}; {hint}"
            f"kinds: {', '.join(self._sites.kinds)}; `deeploc sites MODEL` lists every site"
        )


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
