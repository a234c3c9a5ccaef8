"""Log-probabilities of completions under a causal language model."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from deeploc.adapters._torch.batching import (
    SCORED_PADDING,
    Indices,
    bucketed,
    budget,
    each_batch,
    padded,
)
from deeploc.adapters._torch.hooks import eager
from deeploc.adapters._torch.read import eval_mode
from deeploc.core.adapter import TextRequest, TextScore
from deeploc.errors import AdapterError

from .causal import CausalLM
from .tokenize import Tokenizer, bare_ids

LOGITS = 2**25
"""The most logits (positions x vocabulary) of one batch: 128 MiB in float32."""


@dataclass(frozen=True)
class Encoded:
    """The tokens of a request.

    Parameters
    ----------
    ids
        Token ids of prompt and completion.
    start
        Index of the first token that is scored.
    n_cut
        Number of tokens at the beginning of the prompt that were left out to fit the context.
    """

    ids: Int[np.ndarray, " token"]
    start: int
    n_cut: int = 0

    @property
    def n_scored(self) -> int:
        """Number of tokens that are scored."""
        return len(self.ids) - self.start


def encode_request(tokenizer: Tokenizer, request: TextRequest, context: int | None) -> Encoded:
    """Return the tokens of prompt and completion together.

    The tokens of joined texts are not the joined tokens: the completion starts at the first token
    that the prompt alone does not have. Where the prompt's tokens are a prefix of the whole, this
    is the split of lm-evaluation-harness (``_encode_pair`` in ``lm_eval/api/model.py``).

    Parameters
    ----------
    tokenizer
        Of the model.
    request
        Prompt and completion.
    context
        Longest input of the model in tokens, or ``None``; a longer prompt loses its beginning.

    Raises
    ------
    AdapterError
        If the completion alone does not fit into the context.
    """
    whole = bare_ids(tokenizer, request.prompt + request.completion)
    prompt = bare_ids(tokenizer, request.prompt)
    shared = min(len(whole), len(prompt))
    differs = np.flatnonzero(np.not_equal(whole[:shared], prompt[:shared]))
    start = max(int(differs[0]) if differs.size else shared, 1)
    # the last token is predicted, not read, so one more than the context fits
    surplus = max(len(whole) - (context or len(whole)) - 1, 0)
    if surplus >= start:
        raise AdapterError(
            f"text of {len(whole) - start} tokens does not fit into the model's context of "
            f"{context}: {request.completion[:60]!r}…; use shorter texts"
        )
    return Encoded(np.asarray(whole[surplus:], dtype=np.int32), start - surplus, surplus)


@torch.inference_mode()
def score_encoded(
    lm: CausalLM,
    encoded: Sequence[Encoded],
    bound: int | None,
    padding: float = SCORED_PADDING,
) -> list[TextScore]:
    """Return the score of every encoded request, in order.

    Requests that differ only in their last token (options of one token after one prompt) share
    one row of a forward pass, so that equal tokens have equal scores, bit for bit.

    Parameters
    ----------
    lm
        The model.
    encoded
        Requests.
    bound
        Largest number of rows in a forward pass; ``None``: chosen by memory.
    padding
        Largest share (0-1) of padding in a batch; 0: equal lengths only.
    """
    scores = [TextScore(0.0, 0, True)] * len(encoded)  # correct where nothing is predicted
    sharing: dict[tuple[bytes, int], list[int]] = {}
    for index, request in enumerate(encoded):
        if len(request.ids) > request.start:
            # the start, too: where it differs, the head would be computed at other positions
            sharing.setdefault((request.ids[:-1].tobytes(), request.start), []).append(index)
    rows = list(sharing.values())

    def run(indices: Indices) -> list[TextScore]:
        return _score_batch(lm, [[encoded[i] for i in rows[row]] for row in indices])

    batches = _batches(lm, encoded, rows, bound, padding)
    with eval_mode(lm.model), eager():  # as when ablated, so that only the ablation differs
        for indices, new in each_batch(batches, run):
            requests = chain.from_iterable(rows[row] for row in indices)
            for index, score in zip(requests, new, strict=True):
                scores[index] = score
    return scores


def _batches(
    lm: CausalLM,
    encoded: Sequence[Encoded],
    rows: Sequence[Sequence[int]],
    bound: int | None,
    padding: float,
) -> list[Indices]:
    """Return which rows share a forward pass.

    Whole texts are kept apart from completions of prompts: the head runs on every position from
    the first one scored in a batch.
    """
    lengths = np.array([len(encoded[row[0]].ids) - 1 for row in rows], dtype=np.int64)
    starts = np.array([min(encoded[i].start for i in row) for row in rows], dtype=np.int64)
    positions = min(budget(lm.device), max(LOGITS // lm.vocabulary, 1))
    groups = [np.flatnonzero(starts <= 1), np.flatnonzero(starts > 1)]
    return [
        group[batch]
        for group in groups
        for batch in bucketed(lengths[group], positions, bound, padding)
    ]


def _score_batch(lm: CausalLM, rows: Sequence[Sequence[Encoded]]) -> list[TextScore]:
    """Return the scores of the requests in every row; those of a row share their input."""
    requests = list(chain.from_iterable(rows))
    owner = torch.from_numpy(np.repeat(np.arange(len(rows)), [len(row) for row in rows]))
    ids, attended = padded([row[0].ids[:-1] for row in rows])
    first = min(e.start for e in requests) - 1  # the position that predicts the first scored token
    logits = lm.logits(ids.to(lm.device), attended, keep=ids.shape[1] - first).float()
    targets, counted = _targets(requests, first, ids.shape[1])
    device = logits.device
    scored = counted.to(device)
    logprobs, greedy = _target_logprobs(logits, owner.to(device), targets.to(device), scored)
    totals = zip(logprobs.tolist(), greedy.tolist(), requests, strict=True)
    return [TextScore(float(total), e.n_scored, bool(all_hit)) for total, all_hit, e in totals]


def _targets(batch: Sequence[Encoded], first: int, end: int) -> tuple[Tensor, Tensor]:
    """Return the next token at the positions ``first`` to ``end``, and which of them are scored."""
    targets = np.zeros((len(batch), end - first), dtype=np.int64)
    counted = np.zeros(targets.shape, dtype=bool)
    for row, e in enumerate(batch):
        targets[row, e.start - 1 - first : len(e.ids) - 1 - first] = e.ids[e.start :]
        counted[row, e.start - 1 - first : len(e.ids) - 1 - first] = True
    return torch.from_numpy(targets), torch.from_numpy(counted)


def _target_logprobs(
    logits: Tensor, owner: Tensor, targets: Tensor, scored: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the summed log-probability (nats) of every request, and whether it is the greedy one.

    ``logits`` are ``(row, position, token)``; ``targets`` and ``scored`` (which positions count)
    ``(request, position)``; ``owner`` is the row of each request. Where logits are nan, the
    probability of the target is 0.
    """
    positions = torch.arange(logits.shape[1], device=logits.device)
    at_target = owner[:, None], positions, targets
    logprobs = logits.log_softmax(dim=-1)[at_target]
    broken = logprobs.isnan()
    wide = logprobs if logprobs.device.type == "mps" else logprobs.double()
    wide = wide.masked_fill(broken, -torch.inf).masked_fill(~scored, 0.0)
    hits = (logits[at_target] == logits.amax(dim=-1)[owner]) & ~broken
    return wide.sum(dim=1), _all_first(logits, owner, targets, scored, hits)


def _all_first(
    logits: Tensor, owner: Tensor, targets: Tensor, scored: Tensor, hits: Tensor
) -> Tensor:
    """Return of which requests every scored target is the first of the largest logits.

    ``hits`` says which targets are among the largest. Only where they all are does the order of
    equal logits matter, so ``argmax``, which is 20 times slower than ``amax``, runs on few.
    """
    greedy = (hits | ~scored).all(dim=1)
    request, position = (scored & greedy[:, None]).nonzero(as_tuple=True)
    first = logits[owner[request], position].argmax(dim=-1) == targets[request, position]
    greedy[request[~first]] = False
    return greedy
