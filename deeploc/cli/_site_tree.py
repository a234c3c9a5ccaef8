"""The sites of a model as a tree of its modules, repeated ones folded."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from deeploc.core.units import Site


@dataclass
class Node:
    """A module: its sites, and the modules in it that have sites."""

    sites: list[Site] = field(default_factory=list)
    children: dict[str, "Node"] = field(default_factory=dict)

    def described(self) -> tuple[object, ...]:
        """Return what two modules share that look the same in the tree."""
        own = tuple((s.tap, s.call, s.kind, s.n_units, s.width, s.n_positions) for s in self.sites)
        return own, tuple((name, child.described()) for name, child in self.children.items())


def tree_rows(sites: Sequence[Site], *, fold: bool = True) -> list[list[str]]:
    """Return a row per module down to the sites: name, kind, units, shape.

    Parameters
    ----------
    sites
        In forward order.
    fold
        Whether modules that are numbered and look the same share their rows.
    """
    root = Node()
    for site in sites:
        node = root
        for part in site.path.split(".") if site.path else []:
            node = node.children.setdefault(part, Node())
        node.sites.append(site)
    return list(_rows(root, "", fold))


def _rows(node: Node, indent: str, fold: bool) -> Iterator[list[str]]:
    for name, child in node.children.items():
        label, inner = name, child
        while not inner.sites and len(inner.children) == 1:
            ((part, inner),) = inner.children.items()
            label = f"{label}.{part}"
        if not inner.sites and all(part.isdecimal() for part in inner.children):
            for numbered, member in _numbered(label, inner, fold):
                yield from _module(numbered, member, indent, fold)
        else:
            yield from _module(label, inner, indent, fold)


def _module(label: str, node: Node, indent: str, fold: bool) -> Iterator[list[str]]:
    if not node.sites:
        yield [indent + label, "", "", ""]
    for number, site in enumerate(sorted(node.sites, key=lambda site: site.tap == "output")):
        side = site.name.removeprefix(site.path)
        name = label + side if number == 0 or side else label
        yield [indent + name, site.kind, f"{site.n_units:,}", _shape(site)]
    yield from _rows(node, f"{indent}  ", fold)


def _numbered(label: str, node: Node, fold: bool) -> Iterator[tuple[str, Node]]:
    """Yield the numbered modules in a list, those that look the same together."""
    if not fold:
        yield from ((f"{label}.{name}", child) for name, child in node.children.items())
        return
    alike: dict[tuple[object, ...], list[str]] = {}
    for name, child in node.children.items():
        alike.setdefault(child.described(), []).append(name)
    for names in alike.values():
        yield _range(label, names), node.children[names[0]]


def _range(label: str, names: Sequence[str]) -> str:
    """Return the names of numbered modules: ``h.0 … h.11``, or runs of numbers."""
    numbered = enumerate(map(int, names))
    runs = [[n for _, n in run] for _, run in groupby(numbered, lambda pair: pair[1] - pair[0])]
    if len(runs) == 1:
        first, last = runs[0][0], runs[0][-1]
        return f"{label}.{first}" if first == last else f"{label}.{first} … {label}.{last}"
    texts = [f"{run[0]}" if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
    return f"{label}.{', '.join(texts)}"


def _shape(site: Site) -> str:
    units = f"{site.n_units}" if site.width == 1 else f"{site.n_units} x {site.width}"
    return f"({site.n_positions or 'token'}, {units})"
