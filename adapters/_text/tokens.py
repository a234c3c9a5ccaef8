"""Tokens of stimuli: which of them are read, and how many texts are truncated."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from deeploc.core.adapter import Tokenization
from deeploc.core.readout import Readout
from deeploc.errors import AdapterError
from deeploc.stimuli import Stimulus

from .tokenize import Tokenizer, Tokens, tokenize

_CHUNK = 256
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Texts:
    """Tokens of many texts, one after the other; 5 bytes per token.

    Parameters
    ----------
    ids
        Token ids.
    read
        Which tokens are read.
    starts
        Index of the first token of every text, and the number of tokens at the end.
    """

    ids: Int[np.ndarray, " token"]
    read: Bool[np.ndarray, " token"]
    starts: Int[np.ndarray, " bound"]

    @property
    def lengths(self) -> Int[np.ndarray, " stimulus"]:
        """Number of tokens of every text."""
        return np.diff(self.starts)

    def span(self, index: int) -> slice:
        """Return the slice of the tokens of one text."""
        return slice(int(self.starts[index]), int(self.starts[index + 1]))


def encode(
    tokenizer: Tokenizer, stimuli: Sequence[Stimulus], readout: Readout, context: int | None
) -> Texts:
    """Return the tokens of ``stimuli``, and log how many texts exceed the context.

    Parameters
    ----------
    tokenizer
        Of the model.
    stimuli
        Texts.
    readout
        Texts are truncated after ``max_tokens``, special ones counted. With ``tokens: content``
        special tokens (those that the tokenizer adds) are not read, and pool ``last`` reads the
        last token that ends a word.
    context
        Longest input of the model in tokens, or ``None``; longer texts are truncated, too.

    Raises
    ------
    AdapterError
        Naming a stimulus that has no token to read.
    """
    limit = _limit(readout, context)
    ids, read, n_cut = [], [], 0
    for stimulus, tokens in _each(tokenizer, stimuli, limit):
        ids.append(tokens.ids)
        read.append(_readable(stimulus, tokens, readout))
        if limit == context == len(tokens.ids):
            n_cut += _n_tokens(tokenizer, str(stimulus.content)) > limit
    if n_cut:
        _log.warning(
            "%d texts are longer than the model's context of %d tokens and were truncated",
            *(n_cut, context),
        )
    starts = np.cumsum([0, *(len(row) for row in ids)])
    return Texts(np.concatenate(ids), np.concatenate(read), starts)


def tokenization(
    tokenizer: Tokenizer, stimuli: Sequence[Stimulus], readout: Readout, context: int | None
) -> Tokenization:
    """Return the numbers of tokens that `encode` reads of ``stimuli``.

    Parameters
    ----------
    tokenizer
        Of the model.
    stimuli
        Texts.
    readout, context
        As in `encode`.

    Raises
    ------
    AdapterError
        As `encode` does.
    """
    limit = _limit(readout, context)
    kept, bos, final, words, spans = [], [], [], [], []
    at_limit = []
    for number, (stimulus, tokens) in enumerate(_each(tokenizer, stimuli, limit)):
        kept.append(tokens.n_content)
        bos.append(bool(tokens.special[:1].any()))
        words.append(_words_kept(stimulus, tokens))
        final.append(_reads_word_end(stimulus, tokens, readout))
        spans.append(_characters_read(stimulus, tokens, readout))
        if len(tokens.ids) == limit:
            at_limit.append(number)
    whole = np.array(kept)
    uncut = _each(tokenizer, [stimuli[number] for number in at_limit], None)
    whole[at_limit] = [tokens.n_content for _, tokens in uncut]
    word_final = None if None in final else np.array(final, dtype=bool)
    n_words = None if None in words else np.array(words, dtype=np.int64)
    read = [span for span in spans if span is not None]
    return Tokenization(
        *(whole, np.array(kept), word_final, np.array(bos), n_words, limit),
        read if len(read) == len(spans) else None,
    )


def _limit(readout: Readout, context: int | None) -> int | None:
    return min((n for n in (readout.max_tokens, context) if n is not None), default=None)


def _each(
    tokenizer: Tokenizer, stimuli: Sequence[Stimulus], limit: int | None
) -> Iterator[tuple[Stimulus, Tokens]]:
    for start in range(0, len(stimuli), _CHUNK):
        chunk = stimuli[start : start + _CHUNK]
        contents = [_text(stimulus) for stimulus in chunk]
        yield from zip(chunk, tokenize(tokenizer, contents, limit), strict=True)


def _text(stimulus: Stimulus) -> str:
    if isinstance(stimulus.content, str):
        return stimulus.content
    raise AdapterError(
        f"stimulus {stimulus.id} is a file, but this model reads text; "
        "use a contrast of `modality: text`"
    )


def _n_tokens(tokenizer: Tokenizer, text: str) -> int:
    (tokens,) = tokenize(tokenizer, [text], None)
    return len(tokens.ids)


def _readable(stimulus: Stimulus, tokens: Tokens, readout: Readout) -> Bool[np.ndarray, " token"]:
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


def _reads_word_end(stimulus: Stimulus, tokens: Tokens, readout: Readout) -> bool | None:
    """Return whether the token that pool ``last`` reads ends a word; None without offsets."""
    if readout.pool != "last" or tokens.offsets is None:
        return None
    last = np.flatnonzero(_readable(stimulus, tokens, readout))[-1]
    return _ends_word(str(stimulus.content), tokens.offsets[last])


def _characters_read(
    stimulus: Stimulus, tokens: Tokens, readout: Readout
) -> tuple[int, int] | None:
    """Return the characters that are read, see `Tokenization.read`; None without offsets."""
    if tokens.offsets is None:
        return None
    text = str(stimulus.content)
    read = np.flatnonzero(_readable(stimulus, tokens, readout)).tolist()
    chosen = read[-1:] if readout.pool == "last" else read
    spans = [tokens.offsets[i] for i in chosen if tokens.offsets[i][1] > tokens.offsets[i][0]]
    if not spans:  # special tokens, which stand for no characters
        return 0, 0
    start, end = min(start for start, _ in spans), max(end for _, end in spans)
    if readout.pool == "last":
        start = _word_start(text, start, tokens.offsets[: read[-1]])
    inner = text[start:end]
    return end - len(inner.lstrip()), start + len(inner.rstrip())


def _word_start(text: str, start: int, before: Sequence[tuple[int, int]]) -> int:
    """Return where the first token begins that no white space separates from ``start``."""
    for begin, end in reversed(before):
        if end < start or end == begin or text[start].isspace() or text[end - 1].isspace():
            break
        start = begin
    return start


def _words_kept(stimulus: Stimulus, tokens: Tokens) -> int | None:
    """Return how many words of a text end within its tokens; None without offsets."""
    if tokens.offsets is None:
        return None
    text = str(stimulus.content)
    ends = max((end for _, end in tokens.offsets), default=0)
    inside_a_word = 0 < ends < len(text) and not (text[ends - 1].isspace() or text[ends].isspace())
    return len(text[:ends].split()) - inside_a_word


def _last_word_end(text: str, tokens: Tokens, read: Bool[np.ndarray, " token"]) -> int | None:
    """Return the last token that is followed by white space or the end of ``text``.

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
