"""Texts into tokens: what is read of each, what the tokenizer adds, where it is cut."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from deeploc.adapters._torch.probes import TEXTS, preparation_hash
from deeploc.adapters._torch.quiet import quiet
from deeploc.core.adapter import Tokenization
from deeploc.core.readout import Readout
from deeploc.errors import AdapterError
from deeploc.stimuli import Stimulus

Tokenizer = Any
"""A transformers tokenizer; importing its class only to name it would cost every start."""

_CHUNK = 256
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Texts:
    """Token ids of many texts end to end, and which of them are read; 5 bytes per token."""

    ids: Int[np.ndarray, " token"]
    read: Bool[np.ndarray, " token"]
    starts: Int[np.ndarray, " bound"]

    @property
    def lengths(self) -> Int[np.ndarray, " stimulus"]:
        """Number of tokens of every text."""
        return np.diff(self.starts)

    def span(self, index: int) -> slice:
        """Return where the tokens of one text are."""
        return slice(int(self.starts[index]), int(self.starts[index + 1]))


def encode(
    tokenizer: Tokenizer, stimuli: Sequence[Stimulus], readout: Readout, context: int | None
) -> Texts:
    """Return the tokens of ``stimuli``, cut at ``readout.max_tokens`` and at the context length.

    Special tokens are those that the tokenizer adds by itself. With ``tokens: content`` they are
    not read, and pool ``last`` reads the last token that ends a word.

    Raises
    ------
    AdapterError
        If a stimulus has no token that can be read; names it.
    """
    limit = _limit(readout, context)
    ids, read, cut = [], [], 0
    for stimulus, tokens in _each(tokenizer, stimuli, limit):
        ids.append(tokens.ids)
        read.append(_readable(stimulus, tokens, readout))
        if limit == context == len(tokens.ids):
            cut += _n_tokens(tokenizer, str(stimulus.content)) > limit
    if cut:
        _log.warning("%d texts are longer than the model's %d tokens and were cut", cut, context)
    starts = np.cumsum([0, *(len(row) for row in ids)])
    return Texts(np.concatenate(ids), np.concatenate(read), starts)


def tokenization(
    tokenizer: Tokenizer, stimuli: Sequence[Stimulus], readout: Readout, context: int | None
) -> Tokenization:
    """Return what `encode` makes of ``stimuli``, in numbers.

    Raises
    ------
    AdapterError
        As `encode` does.
    """
    limit = _limit(readout, context)
    kept, bos, final, words = [], [], [], []
    at_limit = []
    for number, (stimulus, tokens) in enumerate(_each(tokenizer, stimuli, limit)):
        kept.append(tokens.n_content)
        bos.append(bool(tokens.special[:1].any()))
        words.append(_words_kept(stimulus, tokens))
        final.append(_reads_word_end(stimulus, tokens, readout))
        if len(tokens.ids) == limit:
            at_limit.append(number)
    whole = np.array(kept)
    uncut = _each(tokenizer, [stimuli[number] for number in at_limit], None)
    whole[at_limit] = [tokens.n_content for _, tokens in uncut]
    told = None if None in final else np.array(final, dtype=bool)
    left = None if None in words else np.array(words, dtype=np.int64)
    return Tokenization(whole, np.array(kept), told, np.array(bos), left, limit)


def _limit(readout: Readout, context: int | None) -> int | None:
    return min((n for n in (readout.max_tokens, context) if n is not None), default=None)


def _each(
    tokenizer: Tokenizer, stimuli: Sequence[Stimulus], limit: int | None
) -> Iterator[tuple[Stimulus, "_Tokens"]]:
    for start in range(0, len(stimuli), _CHUNK):
        chunk = stimuli[start : start + _CHUNK]
        contents = [_text(stimulus) for stimulus in chunk]
        yield from zip(chunk, _tokenized(tokenizer, contents, limit), strict=True)


def _text(stimulus: Stimulus) -> str:
    if isinstance(stimulus.content, str):
        return stimulus.content
    raise AdapterError(
        f"stimulus {stimulus.id} is a file to be shown, but this model reads text; "
        "use a contrast of `modality: text`"
    )


def bare_ids(tokenizer: Tokenizer, text: str) -> list[int]:
    """Return the tokens of ``text`` without special tokens that the tokenizer puts at its end."""
    (tokens,) = _tokenized(tokenizer, [text], None)
    content = np.flatnonzero(~tokens.special)
    end = int(content[-1]) + 1 if content.size else len(_added(tokenizer)[0])
    return [int(i) for i in tokens.ids[:end]]


def rule(tokenizer: Tokenizer) -> str:
    """Return in words what the tokenizer adds to every text."""

    def told(ids: Sequence[int]) -> str:
        names = [str(name) for name in tokenizer.convert_ids_to_tokens(list(ids))]
        return ", ".join(f"{name} (id {i})" for name, i in zip(names, ids, strict=True))

    before, after = _added(tokenizer)
    start = f"the tokenizer puts {told(before)} before" if before else "no beginning-of-text token"
    if not after:
        return f"{start} every text" if before else start
    return f"{start} and {told(after)} after every text"


def tokens_hash(tokenizer: Tokenizer) -> str:
    """Return a hash of the tokens that the tokenizer makes of fixed texts, one by one and together.

    It covers what no file of the tokenizer says: normalization, options and overridden methods of
    tokenizers that are written in Python.

    Raises
    ------
    AdapterError
        If it gives two different results for one text.
    """

    def tokens(texts: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
        return [(each.ids, each.special) for each in _tokenized(tokenizer, texts, None)]

    probes = [*([text] for text in TEXTS), TEXTS]
    return preparation_hash(tokens, probes, name="the tokenizer")[0]


def _added(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """Return the special tokens that the tokenizer puts before and after every text."""
    (probe,) = _tokenized(tokenizer, ["a"], None)
    content = np.flatnonzero(~probe.special)
    ids = [int(i) for i in probe.ids]
    return (ids[: content[0]], ids[content[-1] + 1 :]) if content.size else ([], [])


def _n_tokens(tokenizer: Tokenizer, text: str) -> int:
    (tokens,) = _tokenized(tokenizer, [text], None)
    return len(tokens.ids)


@dataclass(frozen=True)
class _Tokens:
    ids: Int[np.ndarray, " token"]
    special: Bool[np.ndarray, " token"]
    offsets: Sequence[tuple[int, int]] | None

    @property
    def n_content(self) -> int:
        return int(np.count_nonzero(~self.special))


def _tokenized(tokenizer: Tokenizer, texts: Sequence[str], limit: int | None) -> Iterator[_Tokens]:
    fast = bool(getattr(tokenizer, "is_fast", False))
    with quiet(), _cut_at_the_end(tokenizer):
        encoded = tokenizer(
            list(texts),
            truncation=limit is not None,
            max_length=limit,
            padding=False,
            return_special_tokens_mask=True,
            return_offsets_mapping=fast,
        )
    for number, ids in enumerate(encoded["input_ids"]):
        special = np.asarray(encoded["special_tokens_mask"][number], dtype=bool)
        offsets = encoded["offset_mapping"][number] if fast else None
        yield _Tokens(np.asarray(ids, dtype=np.int32), special, offsets)


@contextmanager
def _cut_at_the_end(tokenizer: Tokenizer) -> Iterator[None]:
    """Truncate on the right inside the context, whatever the tokenizer is set to."""
    side = getattr(tokenizer, "truncation_side", "right")
    tokenizer.truncation_side = "right"
    try:
        yield
    finally:
        tokenizer.truncation_side = side


def _readable(stimulus: Stimulus, tokens: _Tokens, readout: Readout) -> Bool[np.ndarray, " token"]:
    read = ~tokens.special if readout.tokens == "content" else np.ones(len(tokens.ids), dtype=bool)
    if not read.any() or not str(stimulus.content).strip():
        raise AdapterError(
            f"stimulus {stimulus.id} has no token to read: {str(stimulus.content)!r}; every "
            "stimulus needs at least one word; remove it or give it text"
        )
    if readout.tokens == "content" and readout.pool == "last":
        last = _last_word_end(str(stimulus.content), tokens, read)
        if last is None:
            raise AdapterError(
                f"stimulus {stimulus.id}: none of its first {len(read)} tokens ends a word; "
                "raise `read.max_tokens` or set `read.tokens: all`"
            )
        read = np.arange(len(read)) == last
    return read


def _reads_word_end(stimulus: Stimulus, tokens: _Tokens, readout: Readout) -> bool | None:
    """Return whether the token that pool ``last`` reads ends a word; None if nobody can tell."""
    if readout.pool != "last" or tokens.offsets is None:
        return None
    last = np.flatnonzero(_readable(stimulus, tokens, readout))[-1]
    return _ends_word(str(stimulus.content), tokens.offsets[last])


def _words_kept(stimulus: Stimulus, tokens: _Tokens) -> int | None:
    """Return how many words of a text end within its tokens; None if nobody can tell."""
    if tokens.offsets is None:
        return None
    text = str(stimulus.content)
    ends = max((end for _, end in tokens.offsets), default=0)
    inside_a_word = 0 < ends < len(text) and not (text[ends - 1].isspace() or text[ends].isspace())
    return len(text[:ends].split()) - inside_a_word


def _last_word_end(text: str, tokens: _Tokens, read: Bool[np.ndarray, " token"]) -> int | None:
    """Return the last token after which comes white space or the end of ``text``.

    Without offsets (a slow tokenizer) it is the last token that is read.
    """
    candidates = np.flatnonzero(read)[::-1]
    if tokens.offsets is None:
        return int(candidates[0])
    for index in candidates:
        if _ends_word(text, tokens.offsets[index]):
            return int(index)
    return None


def _ends_word(text: str, span: tuple[int, int]) -> bool:
    start, end = span
    end = start + len(text[start:end].rstrip())
    return end > start and (end == len(text) or text[end].isspace())
