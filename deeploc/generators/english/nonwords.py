"""Pronounceable non-words, and lists of them matched letter by letter to the sentences."""

import random
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from deeploc.generators.english import lexicon, phrases
from deeploc.generators.english import sentences as english
from deeploc.generators.english.common_words import COMMON_WORDS
from deeploc.generators.rng import chance, new_rng, pick

VOWELS = ("a", "e", "i", "o", "u")
LONG_VOWELS = ("ai", "ea", "ee", "oa", "oi", "oo", "ou")
CONSONANTS = tuple("bdfgjklmnprstvwz")
ONSETS = (
    *("bl", "br", "cr", "dr", "fl", "fr", "gl", "gr", "kl", "pl", "pr", "sk", "sl", "sm", "sn"),
    *("sp", "st", "tr", "tw", "sh", "ch", "th"),
)
CODAS = ("nt", "nd", "rk", "lm", "sk", "mp", "rt", "lf", "sh", "ch", "th", "ng", "nk", "lt")


def nonword_lists(seed: int, options: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Yield one list per sentence of the same seed; word k has as many letters as word k there.

    Parameters
    ----------
    seed
        Decides the records; that of the sentences.
    options
        ``words``, the number of words.
    """
    rng = new_rng("nonword-lists", options["words"], seed)
    seen: set[str] = set()
    for record in english.sentences(seed, options):
        lengths = [len(word) for word in record["text"].split()]
        text = " ".join(nonword(rng, length) for length in lengths)
        while text in seen:
            text = " ".join(nonword(rng, length) for length in lengths)
        seen.add(text)
        yield {"text": text}


def nonword(rng: random.Random, length: int) -> str:
    """Return a pronounceable string that is not one of `real_words`.

    Groups of consonants and vowels alternate; clusters are placed only where English has them, at
    the start (``bl``) and at the end (``nt``).

    Parameters
    ----------
    rng
        Decides the letters.
    length
        How many letters.
    """
    while True:
        word = _spell(rng, length)
        if word not in real_words():
            return word


def _spell(rng: random.Random, length: int) -> str:
    """Return ``length`` letters, consonants and vowels in turn."""
    word, consonant = "", length > 1 and chance(rng, 0.85)
    while len(word) < length:
        room = length - len(word)
        word += _consonants(rng, word, room) if consonant else _vowels(rng, room)
        consonant = not consonant
    return word


def _consonants(rng: random.Random, word: str, room: int) -> str:
    """Return the next consonant group: a cluster at the start or the end, else one letter."""
    if not word and room > 3 and chance(rng, 0.4):
        return pick(rng, ONSETS)
    if len(word) > 1 and room == 2:
        return pick(rng, CODAS)
    return pick(rng, CONSONANTS)


def _vowels(rng: random.Random, room: int) -> str:
    """Return a vowel, sometimes a long one."""
    return pick(rng, LONG_VOWELS) if room > 2 and chance(rng, 0.15) else pick(rng, VOWELS)


@cache
def real_words() -> frozenset[str]:
    """Return the words that a non-word must not be: deeploc's lexicon and common short words."""
    return frozenset(_noun_forms() | _verb_forms() | _other_words() | COMMON_WORDS)


def _noun_forms() -> set[str]:
    """Return every noun of the lexicon in both numbers, and the names."""
    nouns = [noun for group in phrases.NOUNS.values() for noun in group]
    names = {*lexicon.MALE_NAMES, *lexicon.FEMALE_NAMES}
    return names | {noun.singular for noun in nouns} | {noun.plural for noun in nouns}


def _verb_forms() -> set[str]:
    """Return every verb of the lexicon in its five forms."""
    groups = (*phrases.FRAMES.values(), *phrases.INTRANSITIVE.values())
    verbs = [v for group in (*groups, phrases.REFLEXIVE, phrases.GIVE, phrases.SAY) for v in group]
    return {f for v in verbs for f in (v.base, v.third, v.past, v.participle, v.progressive)}


def _other_words() -> set[str]:
    """Return the adjectives, adverbs, determiners and expressions of time."""
    described = (*lexicon.ADJECTIVES.values(), *lexicon.STATES.values())
    times = (time for group in lexicon.TIMES.values() for time in group)
    words = {word for text in (*described, *times) for word in text.split()}
    words |= {*lexicon.MANNER, *lexicon.FREQUENCY}
    return words | {*lexicon.SINGULAR_DETERMINERS, *lexicon.PLURAL_DETERMINERS}
