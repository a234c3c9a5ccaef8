"""Lists of unconnected words: the words of the sentences, redistributed."""

import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from deeploc.generators.english import sentences as english
from deeploc.generators.rng import new_rng, shuffled


def word_lists(seed: int, options: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Yield as many lists of as many words as `english.sentences` of the same seed yields.

    Every block of ``words`` sentences becomes as many lists, each of which takes one word of every
    sentence; so no two words of a list come from one sentence, and whole blocks hold the same
    words, and so the same letters, as the sentences do.

    Parameters
    ----------
    seed
        Decides the records; that of the sentences.
    options
        ``words``, the number of words.
    """
    words = options["words"]
    rng = new_rng("word-lists", words, seed)
    stream = (record["text"].split() for record in english.sentences(seed, options))
    while len(block := list(islice(stream, words))) == words:
        yield from ({"text": " ".join(row)} for row in _redistribute(rng, block))


def _redistribute(rng: random.Random, sentences: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return lists that each take one word of every sentence, all words once, in random order."""
    columns = [shuffled(rng, sentence) for sentence in sentences]
    return [shuffled(rng, row) for row in zip(*columns, strict=True)]
