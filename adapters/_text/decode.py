"""Choose new tokens one by one, each from the logits of a forward pass over all before it."""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from deeploc.adapters._torch.passes import Continued
from deeploc.core.adapter import Sampling
from deeploc.errors import DeeplocError

from .causal import CausalLM

Row = Float[Tensor, " token"]


class Choice:
    """Which token is taken at every step.

    Parameters
    ----------
    sampling
        At temperature 0 the most probable token; else one drawn from the whole distribution at
        that temperature. The draws are decided by the seed and the number of the step.
    """

    def __init__(self, sampling: Sampling) -> None:
        self._temperature = sampling.temperature
        generator = torch.Generator().manual_seed(sampling.seed)
        self._draws = torch.rand(sampling.max_tokens, generator=generator, dtype=torch.float64)

    def __call__(self, row: Row, step: int) -> int | None:
        """Return a token; None where the logits are not finite.

        Parameters
        ----------
        row
            The logits.
        step
            The number of the token, from 0.
        """
        if not bool(torch.isfinite(row.max())):  # the largest of some that are nan is nan
            return None
        if self._temperature == 0:
            return int(row.argmax())
        wide = row.float().cpu().double()  # not every device has float64
        cumulative = torch.softmax(wide / self._temperature, dim=0).cumsum(dim=0)
        return int(torch.searchsorted(cumulative, self._draws[step] * cumulative[-1], right=True))


def new_tokens(
    lm: CausalLM, prompt: Sequence[int], choose: Choice, ends: frozenset[int], n: int
) -> list[int]:
    """Return at most ``n`` tokens that follow a prompt, up to the first of ``ends``.

    Each is chosen from the logits of a forward pass over everything before it. A cache, which some
    models have and some have wrongly (positions from 0, no window, no state), only drafts: one pass
    over the whole text confirms the draft, and if another token would have been chosen anywhere,
    the text is made without the cache. It is the verification of speculative decoding (Leviathan
    et al. 2023, arXiv 2211.17192) with the model itself as the draft.

    Parameters
    ----------
    lm
        The model.
    prompt
        Token ids, at least one.
    choose
        Which token is taken.
    ends
        Tokens that end a text.
    n
        Largest number of tokens.

    Returns
    -------
    list of int
        Fewer than ``n`` without one of ``ends`` where the logits are not finite.
    """
    continued = Continued(torch.tensor([list(prompt)]))
    with continued.followed():
        new = _confirmed(lm, prompt, _draft(lm, continued, prompt, choose, ends, n), choose)
        while len(new) < n and not ends.intersection(new[-1:]):
            (row,) = _logits(lm, [*prompt, *new], 1)
            token = choose(row, len(new))
            if token is None:
                break
            new.append(token)
    return new


def _logits(lm: CausalLM, ids: Sequence[int], keep: int) -> Float[Tensor, "kept token"]:
    """Return the logits of the last ``keep`` positions, without a cache."""
    return lm.logits(torch.tensor([list(ids)], device=lm.device), keep=keep)[0]


def _confirmed(lm: CausalLM, prompt: Sequence[int], draft: list[int], choose: Choice) -> list[int]:
    """Return the draft if each of its tokens is chosen without a cache, too; else none of it.

    Parameters
    ----------
    lm, prompt, choose
        As for `new_tokens`.
    draft
        Tokens that follow the prompt; none: there is nothing to confirm.
    """
    if not draft:
        return []
    rows = _logits(lm, [*prompt, *draft[:-1]], len(draft))
    chosen = [choose(row, step) for step, row in enumerate(rows)]
    return draft if chosen == draft else []


def _draft(
    lm: CausalLM,
    continued: Continued,
    prompt: Sequence[int],
    choose: Choice,
    ends: frozenset[int],
    n: int,
) -> list[int]:
    """Return tokens chosen with the model's cache; none if it has no cache, or fails with it."""
    cached, new, shown = _Cached(lm), list[int](), list(prompt)
    try:
        while len(new) < n and not ends.intersection(new[-1:]):
            continued.start = len(prompt) + len(new) - len(shown)
            row = cached.logits(shown)
            token = None if row is None else choose(row, len(new))
            if token is None:
                break
            new, shown = [*new, token], [token]
    except DeeplocError:
        raise
    except Exception:  # what a foreign model raises has no end; what counts is its pass without
        return new
    finally:
        continued.start = 0
    return new


class _Cached:
    """Forward passes of a model that keeps what earlier ones have computed.

    No names of caches: what a model returns and takes again is one.

    Parameters
    ----------
    lm
        The model.
    """

    def __init__(self, lm: CausalLM) -> None:
        self._lm = lm
        self._takes = frozenset(inspect.signature(lm.model.forward).parameters)
        self._kept: dict[str, Any] = {}

    def logits(self, shown: Sequence[int]) -> Row | None:
        """Return the logits of the last position; None for a model without a cache.

        Parameters
        ----------
        shown
            The tokens that no earlier pass has shown.
        """
        more = {"logits_to_keep": 1} if "logits_to_keep" in self._takes else {}
        ids = torch.tensor([list(shown)], device=self._lm.device)
        output = self._lm.model(input_ids=ids, use_cache=True, **self._kept, **more)
        self._kept = {k: v for k, v in output.items() if k in self._takes and v is not None}
        row: Tensor = output.logits[0, -1]
        return row if self._kept else None
