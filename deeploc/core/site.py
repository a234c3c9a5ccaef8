"""A site: a named place in a model where activations are read and written."""

from dataclasses import dataclass, replace
from typing import Literal

from deeploc.errors import AdapterError

Tap = Literal["output", "input"]

KINDS = (
    *("block", "attention", "heads", "mlp", "mlp-neurons", "shared-expert-neurons", "experts"),
    *("router", "state", "embedding", "conv"),
)
"""The kinds of site that are discovered, as far as a model has them."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Which positions of a site are places in an image: ``rows`` x ``columns``, row by row.

    ``start`` is the first of them; positions before it, and after the last, are tokens that the
    network adds (class token, registers).
    """

    rows: int
    columns: int
    start: int = 0


@dataclass(frozen=True, slots=True)
class Site:
    """A named place in a model, e.g. the output of block 3.

    ``path`` is the dotted module path, ``tap`` says which side of that module is meant and
    ``kind`` groups sites that mean the same in every block (``block``, ``mlp-neurons``, ...).
    ``n_positions`` is the number of positions (pixels, patches) if it is fixed, else ``None``.
    ``axis`` is where the units stand in the tensor: ``-1``, last, or ``1``, before rows and
    columns. ``class_token`` says that position 0 is a token that stands for the whole stimulus.
    ``call`` is the number of the call that is meant, from 1, where a module is called several times
    in a forward pass (looped models), ``calls`` of how many; 0: it is called once. ``width`` is how
    many scalars of the tensor make one unit: 1, except an attention head. ``axes`` is what each
    axis of the tensor is, where that was found to be other than (batch, position, unit): ``batch``,
    ``position``, a number of scalars that count as units, or several of these flattened into one.
    ``within`` is the module around a place that is at no border between modules (`experts`,
    `router`), whose ``path`` is that of a parameter. ``grid`` says which positions are places in an
    image; ``None``: none are, or it is not known.
    """

    path: str
    kind: str
    n_units: int
    tap: Tap = "output"
    n_positions: int | None = None
    axis: int = -1
    class_token: bool = False
    call: int = 0
    width: int = 1
    calls: int = 0
    axes: tuple[str, ...] = ()
    within: str = ""
    grid: Grid | None = None

    @property
    def name(self) -> str:
        """The identity of the site: module path, ``#2`` for its second call, ``:input``."""
        called = f"{self.path}#{self.call}" if self.call else self.path
        return called if self.tap == "output" else f"{called}:{self.tap}"

    def scalars(self) -> "Site":
        """Return the site with every scalar of its tensor as a unit of its own.

        Unit ``unit * width + scalar`` of it is ``scalar`` of ``unit``.
        """
        return replace(self, n_units=self.n_units * self.width, width=1)

    def per_position(self) -> "Site":
        """Return the site with every position of every unit as a unit of its own.

        Unit ``position * n_units + unit`` of it is ``unit`` at ``position``.

        Raises
        ------
        AdapterError
            If the number of positions is not fixed.
        """
        if self.n_positions is None:
            raise AdapterError(
                f"pool 'none' needs a fixed number of positions, and site {self.name} has as many "
                "as the stimulus is long; use last, mean or max"
            )
        return replace(self, n_units=self.n_units * self.n_positions)


def parse_site_name(name: str) -> tuple[str, int, Tap]:
    """Return module path, number of the call (0: the only one) and tap of a site's name."""
    called = name.removesuffix(":input")
    path, hash_mark, call = called.rpartition("#")
    tap: Tap = "input" if called != name else "output"
    return (path, int(call), tap) if hash_mark and call.isdecimal() else (called, 0, tap)
