"""Sites by kind, by name, or by the path of any module."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from deeploc.core.adapter import Adapter
from deeploc.core.units import KINDS, Layout


@runtime_checkable
class NamesSites(Protocol):
    """Ability to read and ablate modules that are no site of ``sites``, by their paths."""

    def named(self, wanted: Sequence[str]) -> Layout:
        """Return the sites that are wanted, in the order asked for.

        Parameters
        ----------
        wanted
            Kinds, globs over the names of ``sites``, and paths of modules, ``:input`` behind them
            for what enters. In a path ``*`` stands for one part of it or within one. A site of
            ``sites`` keeps its kind; that of any other module is its name with ``*`` for numbers.

        Raises
        ------
        AdapterError
            If one of ``wanted`` names nothing in this model.
        """
        ...


def choose_sites(adapter: Adapter, wanted: Sequence[str]) -> Layout:
    """Return the sites of a model that are wanted, in the order asked for.

    Parameters
    ----------
    adapter
        The model.
    wanted
        Kinds, names, or paths of modules, see `NamesSites`.

    Raises
    ------
    AdapterError
        If one of ``wanted`` names nothing in this model. A known kind is passed over where others
        are there, see `missing_kinds`.
    """
    if isinstance(adapter, NamesSites):
        return adapter.named(wanted)
    return adapter.sites.choose(wanted)


def missing_kinds(sites: Layout, wanted: Sequence[str]) -> list[str]:
    """Return what is to be said of each kind that is wanted and that a model does not have.

    Parameters
    ----------
    sites
        All sites of the model.
    wanted
        Kinds and names.
    """
    there = ", ".join(sites.kinds)
    return [
        f"this model has no {kind}, which the contrast asks for beside others; it has {there}"
        for kind in wanted
        if kind in KINDS and kind not in sites.kinds
    ]
