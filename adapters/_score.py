"""The probability a causal LM gives to a completion."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from deeploc.adapter import TextRequest, TextScore
from deeploc.errors import AdapterError

from ._batching import Indices, bucketed, budget, each_batch, padded
from ._causal import CausalLM
from ._read import evaluating
from ._tokens import Tokenizer, bare_ids

_LOGITS = 2**25
"""The most logits (positions x vocabulary) of one batch: 128 MiB in float32."""

_PADDING = 0.2
"""Items of tasks are few and of many lengths: a little padding costs less than many batches."""


@dataclass(frozen=True)
class Encoded:
    """The tokens of a request; those from ``start`` on are scored."""

    ids: Int[np.ndarray, " token"]
    start: int


def encode_request(tokenizer: Tokenizer, request: TextRequest, context: int | None) -> Encoded:
    """Tokenize prompt and completion together and say where the completion starts.

    Joined texts are not joined tokens: the completion starts at the first token that the prompt
    on its own does not have. Where the prompt's tokens are a prefix of the whole, that is the
    split of lm-evaluation-harness (``_encode_pair`` in ``lm_eval/api/model.py``). A prompt too
    long for the context loses its beginning.

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
    return Encoded(np.asarray(whole[surplus:], dtype=np.int32), start - surplus)


@torch.inference_mode()
def score_encoded(lm: CausalLM, encoded: Sequence[Encoded], bound: int | None) -> list[TextScore]:
    """Return the score of every encoded request, in order."""
    scores = [TextScore(0.0, 0, True)] * len(encoded)  # right where there is nothing to predict
    scored = np.array([i for i, e in enumerate(encoded) if len(e.ids) > e.start], dtype=np.int64)
    lengths = np.array([len(encoded[i].ids) - 1 for i in scored], dtype=np.int64)
    positions = min(budget(lm.device), max(_LOGITS // lm.vocabulary, 1))

    def run(indices: Indices) -> list[TextScore]:
        return _score_batch(lm, [encoded[i] for i in scored[indices]])

    with evaluating(lm.model):
        for indices, found in each_batch(bucketed(lengths, positions, bound, _PADDING), run):
            for index, score in zip(scored[indices], found, strict=True):
                scores[index] = score
    return scores


def _score_batch(lm: CausalLM, batch: Sequence[Encoded]) -> list[TextScore]:
    ids, attended = padded([e.ids[:-1] for e in batch])
    first = min(e.start for e in batch) - 1  # the position that predicts the first scored token
    logits = lm.logits(ids.to(lm.device), attended, keep=ids.shape[1] - first).float()
    targets, counted = _targets(batch, first, ids.shape[1])
    logprobs, hits = _judged(logits, targets.to(logits.device))
    zero = torch.zeros((), device=logprobs.device, dtype=logprobs.dtype)
    here = counted.to(logits.device)
    sums = torch.where(here, logprobs, zero).sum(dim=1).tolist()
    greedy = (hits | ~here).all(dim=1).tolist()
    return [
        TextScore(float(total), len(e.ids) - e.start, bool(all_hit))
        for total, all_hit, e in zip(sums, greedy, batch, strict=True)
    ]


def _targets(batch: Sequence[Encoded], first: int, end: int) -> tuple[Tensor, Tensor]:
    """Return the next token at the positions ``first`` to ``end``, and which of them count."""
    targets = np.zeros((len(batch), end - first), dtype=np.int64)
    counted = np.zeros(targets.shape, dtype=bool)
    for row, e in enumerate(batch):
        targets[row, e.start - 1 - first : len(e.ids) - 1 - first] = e.ids[e.start :]
        counted[row, e.start - 1 - first : len(e.ids) - 1 - first] = True
    return torch.from_numpy(targets), torch.from_numpy(counted)


def _judged(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return log-probability (nats) of every target, and whether it is the most probable token.

    A model broken enough to give nan gives its targets no probability at all.
    """
    chosen = logits.gather(2, targets.unsqueeze(-1)).squeeze(-1)
    logprobs = chosen - logits.logsumexp(dim=-1)
    broken = logprobs.isnan()
    hits = (logits.argmax(dim=-1) == targets) & ~broken
    wide = logprobs if logprobs.device.type == "mps" else logprobs.double()
    return wide.masked_fill(broken, -torch.inf), hits
