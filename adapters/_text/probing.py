"""What small forward passes tell of a model: whether it is causal, and whether padding matters."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from deeploc.adapters._torch.quiet import quiet
from deeploc.adapters._torch.read import eval_mode
from deeploc.errors import AdapterError

_SHORT, _LONG = 7, 40
"""Tokens of the two texts that are padded together."""

_EQUAL = 1e-3
"""Largest relative difference of activations that counts as rounding."""


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

    @property
    def context(self) -> int | None:
        """The longest input in tokens."""
        ...

    def trunk(
        self, ids: Int[Tensor, "batch position"], attended: Bool[Tensor, "batch position"] | None
    ) -> Float[Tensor, "batch _ unit"]:
        """Return the last hidden state."""
        ...


@dataclass(frozen=True)
class Probed:
    """What was found.

    Parameters
    ----------
    causal
        Later tokens do not change the activations of earlier ones.
    pads
        Padding that is masked changes nothing, so that texts of unlike length can share a pass.
    """

    causal: bool
    pads: bool


@torch.inference_mode()
def probed(lm: ForwardPasses, name: str) -> Probed:
    """Run a model on small inputs.

    Parameters
    ----------
    lm
        The model.
    name
        Of the model, for the message.

    Raises
    ------
    AdapterError
        If it cannot run on token ids alone.
    """
    try:
        with eval_mode(lm.model), quiet():
            return Probed(_is_causal(lm), _pads(lm))
    except AdapterError:
        raise
    except Exception as error:  # a model may need anything beside token ids
        reason = " ".join(str(error).split())[:160]
        raise AdapterError(
            f"model {name!r} cannot be run on a text alone: {type(error).__name__}: {reason}; "
            "deeploc shows a model token ids and an attention mask, nothing else"
        ) from error


def _is_causal(lm: ForwardPasses) -> bool:
    n = min(_SHORT, lm.context or _SHORT)
    ids = _ids(lm, n + 1)
    first, second = lm.trunk(torch.stack([ids[:-1], ids[[*range(n - 1), n]]]), None)
    return _equal(first[:-1], second[:-1])


def _pads(lm: ForwardPasses) -> bool:
    long = min(_LONG, lm.context or _LONG)
    short = min(_SHORT, long)
    ids = _ids(lm, 2 * long).reshape(2, long)
    attended = torch.arange(long) < torch.tensor([[short], [long]])
    alone = lm.trunk(ids[:1, :short], None)[0]
    together = lm.trunk(ids.masked_fill(~attended.to(ids.device), 0), attended)[0]
    return _equal(alone, together[: len(alone)])


def _ids(lm: ForwardPasses, n: int) -> Int[Tensor, " token"]:
    """Return ``n`` token ids, no special ones: some models take padding out by its id."""
    config = lm.model.config.to_dict()
    special = {str(v) for k, v in config.items() if k.endswith(("_token_id", "_index"))}
    plain = [i for i in range(min(lm.vocabulary, n + 100)) if str(i) not in special]
    return torch.tensor([plain[i % len(plain)] for i in range(n)], device=lm.device)


def _equal(a: Tensor, b: Tensor) -> bool:
    """Return whether two tensors differ by rounding only; where they are nan it is not known."""
    if a.shape != b.shape:
        return False
    return not bool((a.float() - b.float()).norm() > _EQUAL * a.float().norm())
