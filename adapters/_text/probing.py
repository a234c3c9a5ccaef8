"""What small forward passes tell of a model of texts: axes, causality, padding, context."""

from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from deeploc.adapters._sites.axes import TextProbe
from deeploc.adapters._torch.hooks import eager
from deeploc.adapters._torch.quiet import quiet
from deeploc.adapters._torch.read import eval_mode
from deeploc.errors import AdapterError, DeeplocError

from .context import PositionTables, n_embedded
from .probe import LAST, N_TEXTS, N_TOKENS, SAME, ProbeInput, probe_inputs, special_tokens

_LONG = 41
"""Tokens of the longest text that a short one is padded to; longer than the windows of most, and
no number of experts."""

_EQUAL = 1e-3
"""Largest relative difference of activations that counts as rounding."""


_CONTEXT = (
    *("max_position_embeddings", "max_target_positions", "n_positions"),
    *("max_seq_len", "n_ctx", "max_sequence_length"),
)
"""Names of the longest input in configs."""


@runtime_checkable
class ForwardPasses(Protocol):
    """A model that runs token ids up to its last hidden state."""

    @property
    def model(self) -> Any:
        """The model of transformers."""
        ...

    @property
    def device(self) -> torch.device:
        """Where its token ids go."""
        ...

    @property
    def vocabulary(self) -> int:
        """Number of tokens with an embedding."""
        ...

    def trunk(
        self, ids: Int[Tensor, "batch position"], attended: Bool[Tensor, "batch position"] | None
    ) -> Float[Tensor, "batch _ unit"]:
        """Return the last hidden state."""
        ...


@dataclass(frozen=True)
class Shown:
    """What one probe showed: the last hidden state, the tables, and whether it took a mask."""

    hidden: Float[Tensor, "batch position unit"]
    tables: PositionTables
    takes_mask: bool


class _Ranks(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes of how many values the largest are picked."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.lengths: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation; note it if it picks the largest values."""
        if func.overloadpacket is torch.ops.aten.topk:
            self.lengths.add(args[0].shape[-1])
        return func(*args, **(kwargs or {}))


class Probes:
    """Two small forward passes of other numbers and lengths of texts; each runs when needed.

    Parameters
    ----------
    lm
        The model.
    """

    def __init__(self, lm: ForwardPasses) -> None:
        self._lm = lm
        self._last: dict[int, Shown] = {}

    @cached_property
    def passes(self) -> tuple[TextProbe, TextProbe]:
        """The passes, to be run again with hooks."""
        first, second = (
            TextProbe(partial(self._run, n), N_TEXTS[n], N_TOKENS[n], LAST[n], SAME[n])
            for n in range(2)
        )
        return first, second

    @cached_property
    def inputs(self) -> tuple[ProbeInput, ProbeInput]:
        """What the passes show; the first text of the second is that of the first, padded."""
        return probe_inputs(self._lm.vocabulary, special_tokens(self._lm.model.config))

    @cached_property
    def n_embedded(self) -> int | None:
        """For how many positions there is an embedding; ``None``: no table limits them."""
        return n_embedded([self._shown(number).tables for number in range(2)])

    @cached_property
    def is_causal(self) -> bool:
        """Whether later tokens leave the activations of earlier ones as they are."""
        first, second = self._shown(0).hidden[list(LAST[0]), :-1].float()
        return not bool((first - second).norm() > _EQUAL * first.norm())

    @cached_property
    def takes_mask(self) -> bool:
        """Whether the model takes a mask of what is attended to."""
        return self._shown(1).takes_mask

    def pads(self, context: int | None) -> bool:
        """Return whether masked padding leaves the activations of a text as they are.

        It does not where a position attends only to the others of the highest scores: which of
        equal scores are among these depends on how many positions there are.

        Parameters
        ----------
        context
            The longest input of the model in tokens.
        """
        if not self.takes_mask:
            return False
        short = self.inputs[0].ids[0]
        long = max(min(_LONG, context or _LONG), len(short))
        ids = torch.cat([short, short.new_zeros(long - len(short))])
        other = self.inputs[1].ids[1].repeat(long)[:long]
        attended = torch.ones((2, long), dtype=torch.bool)
        attended[0, len(short) :] = False
        ranks = _Ranks()
        with torch.inference_mode(), eval_mode(self._lm.model), eager(), quiet(), ranks:
            both = self._lm.trunk(torch.stack([ids, other]).to(self._lm.device), attended)
        if long in ranks.lengths:
            return False
        alone, beside = self._shown(0).hidden[0], both[0, : len(short)]
        same_shape = alone.shape == beside.shape
        return same_shape and not bool(
            (alone.float() - beside.float()).norm() > _EQUAL * alone.float().norm()
        )

    def _shown(self, number: int) -> Shown:
        """Return what one of the probes showed when it ran last."""
        return self._last[number] if number in self._last else self._run(number)

    @torch.inference_mode()
    def _run(self, number: int) -> Shown:
        """Run one of the probes."""
        inputs = self.inputs[number]
        ids = inputs.ids.to(self._lm.device)
        with eval_mode(self._lm.model), eager(), PositionTables(N_TOKENS[number]) as tables:
            try:
                shown = Shown(self._lm.trunk(ids, inputs.attended), tables, True)
            except AdapterError:
                if inputs.attended is None:
                    raise
                shown = Shown(self._lm.trunk(ids, None), tables, False)
        self._last[number] = shown
        return shown


def context_of(model: Any, probes: Probes) -> int | None:
    """Return the longest input of a model in tokens; ``None`` if it has no limit.

    What the config says, unless fewer positions have an embedding: in some families the first
    rows of the table are not those of the first tokens.

    Parameters
    ----------
    model
        The model of transformers.
    probes
        Its small passes.
    """
    config = model.config.get_text_config()
    limits = (getattr(config, name, None) for name in _CONTEXT)
    said = next((int(n) for n in limits if isinstance(n, int) and n > 0), None)
    return min((n for n in (said, probes.n_embedded) if n is not None), default=None)


def run_model(module: Any, ids: Int[Tensor, "batch position"], **more: Any) -> Any:
    """Return what a module of transformers makes of token ids; whatever it raises is one line.

    Parameters
    ----------
    module
        The model or its trunk.
    ids
        Token ids.
    more
        Further arguments.

    Raises
    ------
    AdapterError
        If it fails on them, in many cases because it needs more than token ids.
    """
    try:
        with quiet():  # transformers advises on masks when a text contains the pad token
            return module(input_ids=ids, **more)
    except (DeeplocError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # whatever the code of a model raises
        raise AdapterError(
            f"{type(module).__name__} fails on {len(ids)} texts of {ids.shape[1]} tokens: "
            f"{type(error).__name__}: {' '.join(str(error).split())[:200]}; deeploc gives a "
            "language model token ids and an attention mask, and nothing else"
        ) from error
