"""Score and generate with an encoder-decoder: the encoder has the prompt, the decoder the rest."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from deeploc.adapters._torch.batching import Indices, bucketed, budget, each_batch, padded
from deeploc.adapters._torch.gradient import KEPT
from deeploc.adapters._torch.hooks import eager
from deeploc.adapters._torch.quiet import quiet
from deeploc.adapters._torch.read import eval_mode
from deeploc.core.adapter import Sampling, TextRequest, TextScore
from deeploc.errors import AdapterError

from .attribute import AttributesTexts, LossPass
from .decode import Choice
from .encoder_decoder import EncoderDecoder
from .generate import end_tokens
from .harness import AnswersAsHarness
from .score import LOGITS
from .scorer import TextScorer
from .tokenize import Tokenizer, target_tokens, tokenize

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EncodedPair:
    """The tokens of a request.

    Parameters
    ----------
    prompt
        Token ids that the encoder is shown.
    completion
        Token ids that the decoder predicts, special tokens included.
    scored
        Which of these are scored: all but special tokens.
    n_cut
        Number of tokens at the beginning of the prompt that were left out to fit the context.
    """

    prompt: Int[np.ndarray, " token"]
    completion: Int[np.ndarray, " predicted"]
    scored: Bool[np.ndarray, " predicted"]
    n_cut: int = 0

    @property
    def n_scored(self) -> int:
        """Number of tokens that are scored."""
        return int(self.scored.sum())

    @property
    def lengths(self) -> tuple[int, int]:
        """How many tokens the encoder is shown, and the decoder."""
        return len(self.prompt), len(self.completion)


def encode_pair(tokenizer: Tokenizer, request: TextRequest, context: int | None) -> EncodedPair:
    """Return the tokens of a prompt and of its completion, each tokenized on its own.

    Parameters
    ----------
    tokenizer
        Of the model.
    request
        Prompt and completion; without a prompt the encoder is shown the special tokens that the
        tokenizer adds to an empty text.
    context
        Longest input of either half, or ``None``; a longer prompt loses its beginning.

    Raises
    ------
    AdapterError
        If the completion alone does not fit into the context, or there is nothing to show the
        encoder.
    """
    prompt, n_cut = _prompt_ids(tokenizer, request.prompt, context)
    completion = target_tokens(tokenizer, request.completion)
    if len(completion.ids) > (context or len(completion.ids)):
        raise AdapterError(
            f"text of {len(completion.ids)} tokens does not fit into the model's context of "
            f"{context}: {request.completion[:60]!r}…; use shorter texts"
        )
    return EncodedPair(prompt, completion.ids, ~completion.special, n_cut)


@torch.inference_mode()
def score_completions(
    lm: EncoderDecoder, encoded: Sequence[EncodedPair], bound: int | None, padding: float
) -> list[TextScore]:
    """Return the score of every encoded request, in order.

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
    scores = [TextScore(0.0, 0, True)] * len(encoded)
    lengths = np.array([len(e.prompt) + len(e.completion) for e in encoded], dtype=np.int64)
    positions = min(budget(lm.device), max(LOGITS // lm.vocabulary, 1))

    def run(indices: Indices) -> list[TextScore]:
        return _score_batch(lm, [encoded[i] for i in indices])

    with eval_mode(lm.model), eager():  # as when ablated, so that only the ablation differs
        for group in _groups(encoded, padding):
            batches = [group[b] for b in bucketed(lengths[group], positions, bound, padding)]
            for indices, new in each_batch(batches, run):
                for index, score in zip(indices, new, strict=True):
                    scores[index] = score
    return scores


@torch.inference_mode()
def answer(lm: EncoderDecoder, tokenizer: Tokenizer, prompt: str, sampling: Sampling) -> str:
    """Return the text that the decoder generates when the encoder is shown a prompt.

    Every step is a whole forward pass of both halves, so that what is ablated is ablated in each
    of them; nothing of the checkpoint's generation config but its end tokens plays a part.

    Parameters
    ----------
    lm, tokenizer
        The model and its tokenizer.
    prompt
        Text.
    sampling
        Greedy at temperature 0; else sampled from the whole distribution at that temperature.

    Raises
    ------
    AdapterError
        If the prompt does not fit into the context.
    """
    shown, n_cut = _prompt_ids(tokenizer, prompt, lm.context)
    if n_cut:
        raise AdapterError(
            f"the prompt has {len(shown) + n_cut} tokens but the model's context is {lm.context}; "
            "shorten the prompt"
        )
    ids = torch.from_numpy(shown).long()[None].to(lm.device)
    said = torch.tensor([[lm.start]], device=lm.device)
    room = min(sampling.max_tokens, (lm.context or sampling.max_tokens + 1) - 1)
    choose, ends = Choice(sampling), end_tokens(lm.model, tokenizer)
    with eval_mode(lm.model), eager(), quiet():
        for step in range(room):
            token = choose(lm.logits(ids, None, said)[0, -1], step)
            if token is None:
                _log.warning("the text ends after %d tokens: the logits are not finite", step)
            if token is None or token in ends:
                break
            said = torch.cat([said, said.new_tensor([[token]])], dim=1)
    return str(tokenizer.decode(said[0, 1:].tolist(), skip_special_tokens=True))


def _prompt_ids(
    tokenizer: Tokenizer, prompt: str, context: int | None
) -> tuple[Int[np.ndarray, " token"], int]:
    """Return what the encoder is shown, and how many tokens were left out at the beginning."""
    (tokens,) = tokenize(tokenizer, [prompt], None)
    if not len(tokens.ids):
        raise AdapterError(
            "the prompt is empty and this tokenizer adds no special tokens, so that the encoder "
            "would be shown nothing; give a prompt"
        )
    content = np.flatnonzero(~tokens.special)
    surplus = min(max(len(tokens.ids) - (context or len(tokens.ids)), 0), len(content))
    return np.delete(tokens.ids, content[:surplus]), surplus


def _groups(encoded: Sequence[EncodedPair], padding: float) -> list[Indices]:
    """Return which requests may share a batch: all, or those with prompts of equal length."""
    scored = np.flatnonzero([e.scored.any() for e in encoded])
    if padding:
        return [scored]
    prompts = np.array([len(encoded[i].prompt) for i in scored.tolist()], dtype=np.int64)
    return [scored[prompts == n] for n in np.unique(prompts)]


def _score_batch(lm: EncoderDecoder, batch: Sequence[EncodedPair]) -> list[TextScore]:
    ids, attended = padded([e.prompt for e in batch])
    labels, known = padded([e.completion for e in batch])
    scored, _ = padded([e.scored for e in batch])
    labels = labels.to(lm.device)
    logits = lm.logits(ids.to(lm.device), attended, lm.shifted(labels, known)).float()
    at_target = logits.log_softmax(dim=-1).gather(-1, labels[..., None])[..., 0].cpu().double()
    broken, counted = at_target.isnan(), scored.bool()
    totals = at_target.masked_fill(broken, -torch.inf).masked_fill(~counted, 0.0).sum(dim=1)
    hits = (logits.argmax(dim=-1) == labels).cpu() & ~broken
    greedy = (hits | ~counted).all(dim=1)
    rows = zip(totals.tolist(), counted.sum(dim=1).tolist(), greedy.tolist(), strict=True)
    return [TextScore(total, n, all_hit) for total, n, all_hit in rows]


class EncoderDecoderAdapter(
    TextScorer[EncoderDecoder, EncodedPair], AttributesTexts[EncodedPair], AnswersAsHarness
):
    """An encoder-decoder and its tokenizer; reads, ablates, scores, generates and attributes.

    Where a text is read it goes to both halves, see `EncoderDecoder.trunk`. Where a completion is
    scored or generated its prompt goes to the encoder.

    Parameters
    ----------
    model
        An encoder-decoder of transformers with a head.
    tokenizer, name, options, sites, origin, lm
        As of `TextScorer`.
    """

    _scoring = {"scoring": "log-likelihood under the decoder, the prompt in the encoder"}

    _makes_passes = EncoderDecoder

    def generate(self, prompt: str, sampling: Sampling) -> str:
        """Return what the decoder says to ``prompt``.

        Parameters
        ----------
        prompt
            Text.
        sampling
            Length, temperature and seed.

        Raises
        ------
        AdapterError
            If the prompt is too long.
        """
        return answer(self._passes, self.tokenizer, prompt, sampling)

    def _encode(self, request: TextRequest) -> EncodedPair:
        encoded = encode_pair(self.tokenizer, request, self._passes.context)
        self._check_vocabulary(encoded.prompt)
        self._check_vocabulary(encoded.completion)
        return encoded

    def _scores(self, encoded: Sequence[EncodedPair]) -> list[TextScore]:
        return score_completions(self._passes, encoded, self._batch_size, self._scored_padding)

    def _encode_text(self, text: str, limit: int | None) -> EncodedPair:
        prompt, _ = _prompt_ids(self.tokenizer, "", self._passes.context)
        said = target_tokens(self.tokenizer, text)
        self._check_vocabulary(said.ids)
        n_left_out = max(len(said.ids) - (limit or len(said.ids)), 0)
        content = np.flatnonzero(~said.special)
        left_out = content[max(len(content) - n_left_out, 0) :]
        ids, special = np.delete(said.ids, left_out), np.delete(said.special, left_out)
        return EncodedPair(prompt, ids, ~special)

    def _attributed(self, encoded: Sequence[EncodedPair]) -> list[Indices]:
        lm, lengths = self._passes, np.array([each.lengths for each in encoded])
        positions = min(budget(lm.device), max(LOGITS // lm.vocabulary, 1)) // KEPT
        batches: list[Indices] = []
        for alike in np.unique(lengths, axis=0):  # without padding: both halves count positions
            group = np.flatnonzero((lengths == alike).all(axis=1))
            same = np.full(len(group), alike.sum())
            found = bucketed(same, max(positions, 1), self._batch_size, 0.0)
            batches += [group[batch] for batch in found]
        return batches

    def _loss_passes(self, encoded: Sequence[EncodedPair]) -> Iterator[LossPass]:
        yield LossPass(partial(_losses, self._passes, encoded), np.arange(len(encoded)))


def _losses(lm: EncoderDecoder, batch: Sequence[EncodedPair]) -> Float[Tensor, " row"]:
    """Make one pass of pairs of equal lengths; return the summed loss (nats) of every pair."""
    ids, _ = padded([each.prompt for each in batch])
    labels, _ = padded([each.completion for each in batch])
    labels = labels.to(lm.device)
    logits = lm.logits(ids.to(lm.device), None, lm.shifted(labels))
    wide = logits if logits.dtype == torch.float64 else logits.float()
    at_target = wide.log_softmax(dim=-1).gather(-1, labels[..., None].to(wide.device))[..., 0]
    scored = torch.from_numpy(np.stack([each.scored for each in batch])).to(wide.device)
    return -torch.where(scored, at_target, 0.0).sum(dim=1)
