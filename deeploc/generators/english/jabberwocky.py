"""Jabberwocky: sentences whose content words are replaced by non-words; the grammar is kept."""

# ruff: noqa: SIM905 (words read better without quotes)

import random
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise
from typing import Any

from deeploc.generators.english import lexicon, phrases
from deeploc.generators.english import sentences as english
from deeploc.generators.english.nonwords import CODAS, CONSONANTS, VOWELS, nonword, real_words
from deeploc.generators.rng import new_rng

FUNCTION_WORDS = frozenset({
    *lexicon.SINGULAR_DETERMINERS,
    *lexicon.PLURAL_DETERMINERS,
    *"an one is are was were be have has had will can must".split(),
    *"in on of to by at near behind beside under with about before ago".split(),
    *"and but because while when that who there last next".split(),
    *"himself herself itself themselves".split(),
})  # fmt: skip
"""The words that are kept: determiners and numbers, auxiliaries, prepositions, conjunctions."""

SHORTEST_STEM = 2  # letters; shorter words lose their ending, as "ate" has none

SIBILANTS = "szh"  # letters after which -s cannot be pronounced


def jabberwocky(seed: int, options: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Yield one text per sentence of the same seed; word k has as many letters as word k there.

    Function words are kept. A content word becomes a non-word with the regular ending of its form:
    ``-s`` for plurals and the third person, ``-ed`` for past forms, irregular ones too, ``-ing``
    and ``-ly``. ``a`` precedes a consonant, ``an`` a vowel.

    Parameters
    ----------
    seed
        Decides the records; that of the sentences.
    options
        ``words``, the number of words.
    """
    rng = new_rng("jabberwocky", options["words"], seed)
    seen: set[str] = set()
    for record in english.sentences(seed, options):
        words = record["text"].split()
        text = _replaced(rng, words)
        while text in seen:
            text = _replaced(rng, words)
        seen.add(text)
        yield {"text": text}


def _replaced(rng: random.Random, words: list[str]) -> str:
    """Return the sentence with its content words replaced."""
    pairs = pairwise(["", *words])
    return " ".join(
        word if word in FUNCTION_WORDS else _inflected(rng, word, before) for before, word in pairs
    )


def _inflected(rng: random.Random, word: str, before: str) -> str:
    """Return a non-word as long as ``word``, with its ending, that may follow ``before``."""
    ending = ending_of(word)
    while True:
        made = nonword(rng, len(word) - len(ending)) + ending
        if _fits(made, ending, before) and made not in real_words():
            return made


def _fits(made: str, ending: str, before: str) -> bool:
    """Return whether a non-word can be pronounced with its ending, and follow an article."""
    vowel = made[0] in VOWELS
    if (before == "a" and vowel) or (before == "an" and not vowel):
        return False
    stem = made.removesuffix(ending) if ending else made
    return not ending or (stem.endswith((*CODAS, *CONSONANTS)) and stem[-1] not in SIBILANTS)


def ending_of(word: str) -> str:
    """Return the ending that a non-word in the place of ``word`` gets.

    Examples
    --------
    >>> ending_of("dogs"), ending_of("wrote"), ending_of("quietly"), ending_of("ate")
    ('s', 'ed', 'ly', '')
    """
    ending = _endings().get(word, "")
    return ending if len(word) - len(ending) >= SHORTEST_STEM else ""


@cache
def _endings() -> Mapping[str, str]:
    """Return the ending of every inflected form; base forms come last and take precedence."""
    nouns = [noun for group in phrases.NOUNS.values() for noun in group]
    groups = (*phrases.FRAMES.values(), *phrases.INTRANSITIVE.values())
    verbs = [v for group in (*groups, phrases.REFLEXIVE, phrases.GIVE, phrases.SAY) for v in group]
    endings = {noun.plural: "s" for noun in nouns} | {verb.third: "s" for verb in verbs}
    endings |= {form: "ed" for verb in verbs for form in (verb.past, verb.participle)}
    endings |= {verb.progressive: "ing" for verb in verbs}
    endings |= {word: "ly" for word in (*lexicon.MANNER, *lexicon.FREQUENCY) if word.endswith("ly")}
    endings["sundays"] = "s"
    return endings | {noun.singular: "" for noun in nouns} | {verb.base: "" for verb in verbs}
