"""Pseudo-log-likelihood: each token of a completion masked in turn, and predicted from the others.

Salazar et al. (2020), doi:10.18653/v1/2020.acl-main.240. The exponential of its negative mean
over tokens is the pseudo-perplexity.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from deeploc.adapters._torch.batching import (
    Indices,
    bucketed,
    budget,
    each_batch,
    in_order,
    padded,
)
from deeploc.adapters._torch.gradient import KEPT
from deeploc.adapters._torch.hooks import eager
from deeploc.adapters._torch.read import eval_mode
from deeploc.core.adapter import TextRequest, TextScore
from deeploc.errors import AdapterError

from .attribute import AttributesTexts, LossPass
from .causal import Attended, CausalLM, Ids
from .head import head_at
from .score import LOGITS
from .scorer import TextScorer
from .tokenize import Tokenizer, tokenize


@dataclass(frozen=True)
class EncodedMasked:
    """The tokens of a request.

    Parameters
    ----------
    ids
        Token ids of prompt and completion, special tokens included.
    scored
        Positions of the tokens of the completion.
    n_cut
        Number of tokens at the beginning of the prompt that were left out to fit the context.
    """

    ids: Int[np.ndarray, " token"]
    scored: Int[np.ndarray, " scored"]
    n_cut: int = 0

    @property
    def n_scored(self) -> int:
        """Number of tokens that are scored."""
        return len(self.scored)


@dataclass
class _Row:
    """One input with one masked token, and the tokens asked for there, each by a request."""

    ids: Int[np.ndarray, " token"]
    position: int
    requests: list[int] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)


def encode_masked(tokenizer: Tokenizer, request: TextRequest, context: int | None) -> EncodedMasked:
    """Return the tokens of prompt and completion together.

    The completion starts at the first token that the prompt alone does not have.

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
    whole, alone = tokenize(tokenizer, [request.prompt + request.completion, request.prompt], None)
    content, prompt = np.flatnonzero(~whole.special), alone.ids[~alone.special]
    shared = min(len(content), len(prompt))
    differs = np.flatnonzero(whole.ids[content[:shared]] != prompt[:shared])
    start = int(differs[0]) if differs.size else shared
    surplus = max(len(whole.ids) - (context or len(whole.ids)), 0)
    if surplus > start:
        raise AdapterError(
            f"text of {len(content) - start} tokens does not fit into the model's context of "
            f"{context}: {request.completion[:60]!r}…; use shorter texts"
        )
    kept = np.delete(whole.ids, content[:surplus])
    return EncodedMasked(kept, content[start:] - surplus, surplus)


@torch.inference_mode()
def score_masked(
    lm: CausalLM, mask: int, encoded: Sequence[EncodedMasked], bound: int | None, padding: float
) -> list[TextScore]:
    """Return the pseudo-log-likelihood of every encoded request, in order.

    Requests that differ in the masked token only (options of one token) share a row.

    Parameters
    ----------
    lm
        The model; its logits at a position predict the token there.
    mask
        Id of the mask token.
    encoded
        Requests.
    bound
        Largest number of rows in a forward pass; ``None``: chosen by memory.
    padding
        Largest share (0-1) of padding in a batch; 0: equal lengths only.
    """
    rows = _rows(encoded, mask)
    lengths = np.array([len(row.ids) for row in rows], dtype=np.int64)
    largest = max(LOGITS // lm.vocabulary, 1)
    bound = largest if bound is None else min(bound, largest)
    totals, greedy = np.zeros(len(encoded)), np.ones(len(encoded), dtype=bool)

    def run(indices: Indices) -> tuple[np.ndarray, np.ndarray]:
        return _score_batch(lm, [rows[i] for i in indices])

    with eval_mode(lm.model), eager():  # as when ablated, so that only the ablation differs
        batches = bucketed(lengths, budget(lm.device), bound, padding)
        for indices, (logprobs, hits) in each_batch(batches, run):
            requests = np.concatenate([rows[i].requests for i in indices])
            np.add.at(totals, requests, logprobs)
            np.logical_and.at(greedy, requests, hits)
    n_tokens = (len(e.scored) for e in encoded)
    scores = zip(totals.tolist(), n_tokens, greedy.tolist(), strict=True)
    return [TextScore(total, n, all_hit) for total, n, all_hit in scores]


def _rows(encoded: Sequence[EncodedMasked], mask: int) -> list[_Row]:
    rows: dict[tuple[bytes, int], _Row] = {}
    for number, request in enumerate(encoded):
        for position in request.scored.tolist():
            ids = request.ids.copy()
            ids[position] = mask
            row = rows.setdefault((ids.tobytes(), position), _Row(ids, position))
            row.requests.append(number)
            row.targets.append(int(request.ids[position]))
    return list(rows.values())


def _score_batch(lm: CausalLM, rows: Sequence[_Row]) -> tuple[np.ndarray, np.ndarray]:
    """Return the log-probability (nats) of every target, and whether it is the greedy one."""
    ids, attended = padded([row.ids for row in rows])
    at = torch.tensor([row.position for row in rows], device=lm.device)
    logits = _logits_at(lm, ids.to(lm.device), attended, at).float()
    owner = torch.tensor(
        [number for number, row in enumerate(rows) for _ in row.targets], device=logits.device
    )
    targets = torch.tensor([t for row in rows for t in row.targets], device=logits.device)
    logprobs = logits.log_softmax(dim=-1)[owner, targets]
    broken = logprobs.isnan()
    hits = (logits.argmax(dim=-1)[owner] == targets) & ~broken
    values = logprobs.masked_fill(broken, -torch.inf).cpu().double()
    return values.numpy(), hits.cpu().numpy()


def _logits_at(
    lm: CausalLM, ids: Ids, attended: Attended, at: Int[Tensor, " batch"]
) -> Float[Tensor, "batch token"]:
    """Return the logits at one position of every row."""
    rows = torch.arange(len(ids), device=at.device)
    chosen: list[bool] = []

    def choose(hidden: Tensor) -> Tensor:
        if hidden.shape[:2] != ids.shape:
            return hidden
        chosen.append(True)
        return hidden[rows, at][:, None]

    with head_at(lm.model, choose):
        logits = lm.logits(ids, attended)
    return logits[:, 0] if chosen else logits[rows, at]


class MaskedAdapter(TextScorer[CausalLM, EncodedMasked], AttributesTexts[EncodedMasked]):
    """A masked LM and its tokenizer; reads, ablates, scores by pseudo-log-likelihood, attributes.

    Parameters
    ----------
    model
        A model of transformers that predicts masked tokens.
    tokenizer, name, options, sites, origin, lm
        As of `TextScorer`; the tokenizer has a mask token.
    """

    _scoring = {"scoring": "pseudo-log-likelihood: each token of a completion masked in turn"}

    _makes_passes = CausalLM

    def _encode(self, request: TextRequest) -> EncodedMasked:
        encoded = encode_masked(self.tokenizer, request, self._passes.context)
        self._check_vocabulary(encoded.ids)
        return encoded

    def _scores(self, encoded: Sequence[EncodedMasked]) -> list[TextScore]:
        mask = int(self.tokenizer.mask_token_id)
        return score_masked(self._passes, mask, encoded, self._batch_size, self._scored_padding)

    def _encode_text(self, text: str, limit: int | None) -> EncodedMasked:
        (tokens,) = tokenize(self.tokenizer, [text], limit)
        self._check_vocabulary(tokens.ids)
        return EncodedMasked(tokens.ids, np.flatnonzero(~tokens.special))

    def _attributed(self, encoded: Sequence[EncodedMasked]) -> list[Indices]:
        return in_order(len(encoded), 1)  # each has many rows of its own

    def _loss_passes(self, encoded: Sequence[EncodedMasked]) -> Iterator[LossPass]:
        lm, mask = self._passes, int(self.tokenizer.mask_token_id)
        for text, each in enumerate(encoded):
            n = max(budget(lm.device) // KEPT // len(each.ids), 1)
            n = min(n, self._batch_size or n, max(LOGITS // KEPT // lm.vocabulary, 1))
            for start in range(0, each.n_scored, n):
                at = torch.from_numpy(each.scored[start : start + n])
                losses = partial(_losses, lm, mask, torch.from_numpy(each.ids).long(), at)
                yield LossPass(losses, np.full(len(at), text))


def _losses(
    lm: CausalLM, mask: int, ids: Int[Tensor, " token"], at: Int[Tensor, " row"]
) -> Float[Tensor, " row"]:
    """Mask one position of a text in every row; return the loss (nats) of the token there."""
    rows = ids.repeat(len(at), 1)
    rows[torch.arange(len(at)), at] = mask
    logits = _logits_at(lm, rows.to(lm.device), None, at.to(lm.device))
    wide = logits if logits.dtype == torch.float64 else logits.float()
    targets = ids[at].to(wide.device)
    return -wide.log_softmax(dim=-1).gather(-1, targets[:, None])[:, 0]
