"""The parts of a block, told by what they do: attention, its heads, state, MLP, its neurons."""

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from math import prod

from torch import nn

from deeploc.core.units import Site

from .mixers import Mixer, mixers_of
from .mixing import Observed
from .mlps import Mlp, Within, alternatives, fused_experts, mlps_of
from .paths import holds
from .trace import Call, Trace

# Attention that shows no weights (gates over channels, kernels of other libraries) is known by
# name alone.
_ATTENTION = re.compile(r"att(n|ention)", re.IGNORECASE)


class Parts:
    """The parts of one block.

    Parameters
    ----------
    model
        The model.
    trace
        One forward pass of it.
    block
        The site of the block.
    observed
        What was seen of positions in another pass.
    linear
        The calls of linear layers.
    is_image
        Whether stimuli are images.
    """

    def __init__(
        self,
        model: nn.Module,
        trace: Trace,
        block: Site,
        observed: Observed,
        linear: Mapping[str, Call],
        *,
        is_image: bool,
    ) -> None:
        self._model = model
        self._trace = trace
        self._block = block
        self._is_image = is_image
        self._mixers = mixers_of(block.path, observed, linear)
        self._attention = self._attending()
        separate = self._attention if is_image else [mixer.path for mixer in self._mixers]
        width = {block.n_units}
        if observed.embedding is not None and not is_image:
            width.add(observed.embedding[1][-1])
        self._rows = self._numbers_of_rows(observed)
        self._within = Within(
            block.path,
            tuple(e for e in observed.entered if e.path.startswith(f"{block.path}.")),
            separate or self._attention,
            linear,
            self._rows,
            frozenset(width),
        )

    def sites(self) -> Iterator[Site]:
        """Yield the sites of all parts, without their units."""
        for mlp in self._mlps:
            kind = "shared-expert-neurons" if self._is_shared(mlp) else "mlp-neurons"
            yield Site(mlp.down, kind, 0, "input")
        yield from self.attention()
        yield from (Site(path, "mlp", 0) for path in self._mlp_modules() if self._whole(path))
        for mixer in self._mixers:
            if not mixer.attends and not self._is_image and self._whole(mixer.path):
                yield Site(mixer.path, "state", 0)

    def attention(self) -> Iterator[Site]:
        """Yield the sites of attention and its heads, without their units."""
        for path in self._attention:
            if self._whole(path) and (self._trace.called_once(path) or not self._is_image):
                yield Site(path, "attention", 0)
        for mixer in self._mixers:
            if mixer.projection is not None and (width := self._head_width(mixer)):
                yield Site(mixer.projection, "heads", 0, "input", width=width)

    @cached_property
    def _experts(self) -> list[str]:
        """Modules of which a position uses only some."""
        fused = [] if self._is_image else fused_experts(self._within, self._model, self._trace)
        return self._alternatives + fused

    @cached_property
    def _alternatives(self) -> list[str]:
        """Experts that are modules of their own."""
        return alternatives(self._within, self._model, self._trace)

    @cached_property
    def _mlps(self) -> list[Mlp]:
        found = mlps_of(self._within, self._experts)
        return found[-1:] if self._is_image else found

    @cached_property
    def _mixtures(self) -> list[str]:
        """Modules that return what experts compute together."""
        found = (self._mixture(path) for path in self._experts)
        return list(dict.fromkeys(path for path in found if path is not None))

    def _is_shared(self, mlp: Mlp) -> bool:
        """Return whether an MLP is an expert that every position uses, beside the others."""
        beside = bool(self._experts) and "shared" in mlp.down[len(self._block.path) :]
        return beside or any(holds(path, mlp.down) for path in self._mixtures)

    def _mlp_modules(self) -> Iterator[str]:
        """Yield what returns the results of MLPs; of experts, the module around all of them."""
        yield from self._mixtures
        for mlp in self._mlps:
            if not any(holds(path, mlp.path) for path in self._mixtures):
                yield mlp.path if self._does_no_more(mlp) else mlp.down

    def _does_no_more(self, mlp: Mlp) -> bool:
        """Return whether the module around an MLP takes and returns what its layers do."""
        if mlp.path not in self._trace:
            return False
        around, linear = self._trace[mlp.path], self._within.linear
        if around.output_id == self._trace[self._block.path].output_id:  # a wrapper of the block
            return False
        up, down = linear[mlp.up], linear[mlp.down]
        if self._is_image and around.input_id != up.input_id:  # ConvNeXt's has its convolution, too
            return False
        return (around.input_shape, around.output_shape) == (up.input_shape, down.output_shape)

    def _mixture(self, expert: str) -> str | None:
        """Return the module inside the block that holds the experts and what weights them.

        Where the block weights them itself, it is the module of all experts, if there is one.
        """
        inside = expert[len(self._block.path) + 1 :].split(".")
        around = [".".join([self._block.path, *inside[:n]]) for n in range(1, len(inside))]
        fit = (p for p in around if p in self._trace and not self._holds_mixer(p))
        several = expert in self._alternatives or expert not in self._trace
        return next(fit, None if several else expert)

    def _holds_mixer(self, path: str) -> bool:
        return any(holds(path, mixer.path) for mixer in self._mixers)

    def _attending(self) -> list[str]:
        """Return the modules that attend, by their names where none shows its weights."""
        attending = [mixer.path for mixer in self._mixers if mixer.attends]
        if attending or (self._mixers and not self._is_image):
            return attending
        return list(_named_attention(self._model, self._block.path))

    def _head_width(self, mixer: Mixer) -> int:
        """Return the scalars per head in the input of the output projection; 0: unknown."""
        if mixer.projection is None or not mixer.n_heads:
            return 0
        *rows, width = self._within.linear[mixer.projection].input_shape
        for n_rows in self._rows:
            n_groups, rest = divmod(prod(rows), n_rows)  # of heads that are projected together
            if not rest and (n_groups == 1 or rows[-1] == n_groups):
                per_head, rest = divmod(n_groups * width, mixer.n_heads)
                return 0 if rest or width % per_head else per_head
        return 0

    def _whole(self, path: str) -> bool:
        """Return whether a module returns a vector for every position, in images a whole map."""
        if path not in self._trace:
            return False
        shape = self._trace[path].output_shape
        if self._is_image:
            return prod(shape) == prod(self._trace[self._block.path].output_shape)
        return prod(shape[:-1]) in self._rows

    def _numbers_of_rows(self, observed: Observed) -> frozenset[int]:
        shape = self._trace[self._block.path].output_shape
        rows = {prod(shape) // max(self._block.n_units, 1)}
        if observed.embedding is not None and not self._is_image:
            rows.add(prod(observed.embedding[1][:-1]))
        return frozenset(rows)


def _named_attention(model: nn.Module, block: str) -> Iterator[str]:
    """Yield the outermost modules named attention that are not whole blocks of that name."""
    for name, child in model.get_submodule(block).named_children():
        path = f"{block}.{name}"
        has_mlp = any(re.fullmatch("mlp|ffn", inner) for inner, _ in child.named_children())
        if _ATTENTION.search(name) and not has_mlp:
            yield from [path] if any(p.ndim > 1 for p in child.parameters()) else []
        else:
            yield from _named_attention(model, path)
