"""The edits that are in force in a model made of arrays."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from jaxtyping import Float64

from deeploc.core.ablation import Edit, ForwardPass
from deeploc.core.units import Layout, Site
from deeploc.errors import MaskError

Activations = Float64[np.ndarray, "stimulus position site_unit"]


class Edits:
    """The edits that are in force, for adapters whose activations are arrays.

    Parameters
    ----------
    layout
        The sites that can be edited.
    model
        What messages call the model.
    """

    def __init__(self, layout: Layout, model: str) -> None:
        self._layout = layout
        self._model = model
        self._in_force: list[Edit] = []

    @contextmanager
    def applied(self, edit: Edit) -> Iterator[None]:
        """Have ``edit`` in force inside the context; what `Adapter.ablated` returns.

        Parameters
        ----------
        edit
            An edit of units of the layout.

        Raises
        ------
        MaskError
            If its mask was made for other sites.
        """
        if any(site not in self._layout.sites for site in edit.mask.layout.sites):
            raise MaskError(f"mask was made for other sites than those of the {self._model}")
        self._in_force.append(edit)
        try:
            yield
        finally:
            self._in_force.pop()  # contexts are left in reverse order

    def of(self, site: Site, activations: Activations, texts: Sequence[str]) -> Activations:
        """Return the activations of a site after the edits in force; the argument is unchanged.

        Parameters
        ----------
        site
            The site.
        activations
            ``(stimulus, position, unit of the site)``.
        texts
            What each stimulus shows.
        """
        if not self._in_force:
            return activations
        forward_pass = ForwardPass(0, tuple(_number(text) for text in texts))
        for edit in self._in_force:
            if site in edit.mask.layout.sites:
                units = edit.mask.at(site.name)
                activations = activations.copy()
                selected = activations[..., units]
                activations[..., units] = edit.edited(site.name, selected, forward_pass)
        return activations


def _number(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
