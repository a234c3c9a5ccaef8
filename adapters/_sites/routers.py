"""Find what scores the experts: the projection from whose product the best experts are picked.

No table of model names. Modules called gate or router return the scores for the loss only, and
pick the experts themselves; so a score is read where it is made, at the product with the weight.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from deeploc.adapters._torch.hooks import SiteHook, hook_sites
from deeploc.adapters._torch.origins import Called, moves_rows, tensors
from deeploc.adapters._torch.products import PRODUCTS
from deeploc.core.units import Site

from .trace import Trace

_PICKS = frozenset({"topk", "argmax", "max", "sort", "argsort"})


def router_sites(
    model: nn.Module, trace: Trace, experts: Sequence[Site], run: Callable[[], Any]
) -> list[Site]:
    """Return what scores the experts of the given sites, kind ``router``: one unit per score.

    What scores a single expert chooses nothing, and is none.

    Parameters
    ----------
    model
        The network, in evaluation mode.
    trace
        One forward pass of it.
    experts
        The sites of its experts.
    run
        Makes a forward pass; one more is made if there are experts.
    """
    if not experts:
        return []
    mode = _ScoreMode(model)
    leaves = [(path, m) for path, m in model.named_modules() if not list(m.children())]
    hooks = [SiteHook(path, m, "output", partial(mode.left, path)) for path, m in leaves]
    with ExitStack() as stack:
        stack.enter_context(hook_sites(hooks))
        stack.enter_context(torch.inference_mode())
        stack.enter_context(mode)
        run()
    found = (_site(path, n_units, trace) for path, n_units in mode.picked.items())
    around = {site.within.rpartition(".")[0] for site in experts}
    beside = tuple(f"{path}." if path else "" for path in around)
    return [site for site in found if site.n_units > 1 and site.path.startswith(beside)]


def _site(path: str, n_units: int, trace: Trace) -> Site:
    if path in trace:
        return Site(path, "router", n_units)
    around = path.rpartition(".")[0]
    while around and around not in trace:
        around = around.rpartition(".")[0]
    return Site(path, "router", n_units, within=around)


class _ScoreMode(TorchFunctionMode):
    """Follows the products of projections up to where the largest of them are picked."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.picked: dict[str, int] = {}
        """Path of the projection, and the number of its scores."""
        self._model = model
        self._weights = WeakIdKeyDictionary()
        self._scores = WeakIdKeyDictionary()

    def __torch_function__(
        self, func: Any, _types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        called = Called(func, args, kwargs or {})
        result = func(*args, **called.kwargs)
        given = list(called.tensors())
        weight = next((path for x in given if (path := self._weight(x))), None)
        if weight and called.name in PRODUCTS:
            self._scores[result] = weight, result.shape[-1]
        elif weight and len(given) == 1:  # transposed, or in another precision
            self._weights.update((x, weight) for x in tensors([result]))
        else:
            self._follow(called.name, given, result)
        return result

    def left(self, path: str, x: Tensor) -> None:
        """Note what a module returns whose product was not seen, with compressed weights."""
        weight = getattr(self._model.get_submodule(path), "weight", None)
        if isinstance(weight, Tensor) and weight.ndim == 2 and x not in self._scores:
            self._scores[x] = path, x.shape[-1]

    def _follow(self, function: str, given: Sequence[Tensor], result: Any) -> None:
        source = next((x for x in given if x in self._scores), None)
        if source is None or function in PRODUCTS:
            return
        path, n_scores = self._scores[source]
        if function in _PICKS:
            self.picked[path] = n_scores
        for x in tensors([result]):
            same = x.shape[-1:] == source.shape[-1:] or moves_rows(function)
            if same and x not in self._scores:
                self._scores[x] = path, n_scores

    def _weight(self, x: Tensor) -> str | None:
        """Return the path of the matrix that ``x`` is, or is made from."""
        if isinstance(x, nn.Parameter) and x.ndim == 2 and x not in self._weights:
            named = self._model.named_parameters()
            path = next((path for path, p in named if p is x), None)
            if path is None:  # not yet in its place: weights that are loaded for the pass
                return None
            self._weights[x] = path
        if x not in self._weights:
            return None
        found: str = self._weights[x]
        return found
