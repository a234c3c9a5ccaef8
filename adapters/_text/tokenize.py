"""Call a tokenizer: token ids, special tokens, and where texts are truncated."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from deeploc.adapters._torch.probes import TEXTS, preparation_hash
from deeploc.adapters._torch.quiet import quiet

Tokenizer = Any
"""A tokenizer of transformers; not its class, whose import would slow down every start."""


@dataclass(frozen=True)
class Tokens:
    """The tokens of one text.

    Parameters
    ----------
    ids
        Token ids.
    special
        Which of them the tokenizer added.
    offsets
        Start and end of every token in the text; ``None`` for slow tokenizers.
    """

    ids: Int[np.ndarray, " token"]
    special: Bool[np.ndarray, " token"]
    offsets: Sequence[tuple[int, int]] | None

    @property
    def n_content(self) -> int:
        """Number of tokens that are not special."""
        return int(np.count_nonzero(~self.special))


def tokenize(tokenizer: Tokenizer, texts: Sequence[str], limit: int | None) -> Iterator[Tokens]:
    """Yield the tokens of every text.

    Parameters
    ----------
    tokenizer
        Of the model; its settings of padding and truncation are not used.
    texts
        Texts.
    limit
        Texts are truncated at their end after this many tokens, special ones counted; ``None``:
        never.
    """
    fast = bool(getattr(tokenizer, "is_fast", False))
    with quiet(), _right_truncation(tokenizer):
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
        yield Tokens(np.asarray(ids, dtype=np.int32), special, offsets)


def target_tokens(tokenizer: Tokenizer, text: str) -> Tokens:
    """Return the tokens of a text that a decoder is to predict; most tokenizers make no difference.

    Parameters
    ----------
    tokenizer
        Of an encoder-decoder.
    text
        Not truncated.
    """
    with quiet():
        encoded = tokenizer(text_target=text, return_special_tokens_mask=True)
    special = np.asarray(encoded["special_tokens_mask"], dtype=bool)
    return Tokens(np.asarray(encoded["input_ids"], dtype=np.int32), special, None)


@contextmanager
def _right_truncation(tokenizer: Tokenizer) -> Iterator[None]:
    """Truncate on the right inside the context, and restore the setting of the tokenizer after."""
    side = getattr(tokenizer, "truncation_side", "right")
    tokenizer.truncation_side = "right"
    try:
        yield
    finally:
        tokenizer.truncation_side = side


def bare_ids(tokenizer: Tokenizer, text: str) -> list[int]:
    """Return the token ids of ``text`` without special tokens at its end.

    Parameters
    ----------
    tokenizer
        Of the model.
    text
        Not truncated.
    """
    (tokens,) = tokenize(tokenizer, [text], None)
    content = np.flatnonzero(~tokens.special)
    end = int(content[-1]) + 1 if content.size else len(_added(tokenizer)[0])
    return [int(i) for i in tokens.ids[:end]]


def describe_special_tokens(tokenizer: Tokenizer) -> str:
    """Return a sentence about the special tokens that the tokenizer adds to every text."""

    def names_of(ids: Sequence[int]) -> str:
        names = [str(name) for name in tokenizer.convert_ids_to_tokens(list(ids))]
        return ", ".join(f"{name} (id {i})" for name, i in zip(names, ids, strict=True))

    before, after = _added(tokenizer)
    start = (
        f"the tokenizer puts {names_of(before)} before" if before else "no beginning-of-text token"
    )
    if not after:
        return f"{start} every text" if before else start
    return f"{start} and {names_of(after)} after every text"


def tokens_hash(tokenizer: Tokenizer) -> str:
    """Return a hash of the token ids of fixed texts, tokenized one by one and together.

    It covers normalization, options and overridden methods of tokenizers written in Python, which
    are in no vocabulary.

    Raises
    ------
    AdapterError
        If it gives two different results for one text.
    """

    def tokens(texts: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
        return [(each.ids, each.special) for each in tokenize(tokenizer, texts, None)]

    probes = [*([text] for text in TEXTS), TEXTS]
    return preparation_hash(tokens, probes, name="the tokenizer")[0]


def _added(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """Return the special tokens that the tokenizer puts before and after every text."""
    (probe,) = tokenize(tokenizer, ["a"], None)
    content = np.flatnonzero(~probe.special)
    ids = [int(i) for i in probe.ids]
    return (ids[: content[0]], ids[content[-1] + 1 :]) if content.size else ([], [])
