"""Minimal pairs as in BLiMP (Warstadt et al., 2020, doi:10.1162/tacl_a_00321): one word differs."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

from deeploc.generators.english import lexicon
from deeploc.generators.english.morphology import Verb
from deeploc.generators.english.phrases import (
    ADJECTIVES,
    FRAMES,
    PAST,
    PRESENT,
    REFLEXIVE,
    Phrase,
    article,
    aspect_for,
    attribute,
    noun_of,
    noun_phrase,
    place_phrase,
    relative_clause,
    relativizer,
    verb_group,
)
from deeploc.generators.english.sentences import predicate
from deeploc.generators.rng import chance, is_held_out, new_rng, pick

AGREEING = ("present", "present", "progressive", "perfect", "past-progressive")


@dataclass(frozen=True, slots=True)
class Pair:
    """A grammatical sentence and its ungrammatical counterpart, as words."""

    good: list[str]
    bad: list[str]


def minimal_pairs(seed: int, options: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Yield held-out pairs, one of each suite in turn.

    Parameters
    ----------
    seed
        Decides the pairs.
    options
        ``suite``, one of `SUITE_NAMES`.
    """
    suites = SUITES if options["suite"] == "all" else [options["suite"]]
    streams = [(uid, _suite(uid, seed)) for uid in suites]
    for uid, stream in cycle(streams):
        good, bad = next(stream)
        yield {"sentence_good": good, "sentence_bad": bad, "UID": uid}


def _suite(uid: str, seed: int) -> Iterator[tuple[str, str]]:
    """Yield the pairs of one suite without end, none twice."""
    rng = new_rng("minimal-pairs", uid, seed)
    seen: set[str] = set()
    while True:
        pair = SUITES[uid](rng)
        good, bad = " ".join(pair.good), " ".join(pair.bad)
        if good not in seen and good != bad and is_held_out(good):
            seen.add(good)
            yield good, bad


def _agreement(rng: random.Random) -> Pair:
    """Return ``the boy sleeps in the garden`` / ``the boy sleep …``."""
    subject = noun_phrase(rng, pick(rng, ("person", "person", "animal")))
    return _agreeing(rng, subject, [])


def _agreement_attractor(rng: random.Random) -> Pair:
    """Return a pair with a noun of the other number between subject and verb."""
    subject = noun_phrase(rng, pick(rng, ("person", "person", "animal")), names=False)
    return _agreeing(rng, subject, attribute(rng, subject.kind, not subject.plural))


def _agreement_across_relative(rng: random.Random) -> Pair:
    """Return a pair with a relative clause between subject and verb."""
    subject = noun_phrase(rng, pick(rng, ("person", "person", "animal")), names=False)
    return _agreeing(rng, subject, relative_clause(rng, subject, pick(rng, (PAST, PRESENT))))


def _agreeing(rng: random.Random, subject: Phrase, tail: list[str]) -> Pair:
    """Return a pair whose verb agrees, or not, with the subject in front of ``tail``."""
    verb, rest = predicate(rng, subject.kind)
    aspect = aspect_for(rng, verb, AGREEING)
    start = [*subject.words, *tail]
    good = [*start, *verb_group(verb, subject.plural, aspect), *rest]
    return Pair(good, [*start, *verb_group(verb, not subject.plural, aspect), *rest])


def _agreement_inside_relative(rng: random.Random) -> Pair:
    """Return ``the girls who like the cat slept …`` / ``the girls who likes …``.

    The main verb is in the past, so that only the head has a number.
    """
    head = noun_phrase(rng, pick(rng, ("person", "animal")), names=False)
    verb, rest = predicate(rng, head.kind)
    frame = pick(rng, [key for key in FRAMES if key[0] == head.kind])
    inner = pick(rng, FRAMES[frame])
    aspect = aspect_for(rng, inner, AGREEING)
    middle, end = noun_phrase(rng, frame[1]).words, [verb.past, *rest]
    start = [*head.words, relativizer(head)]
    good = [*start, *verb_group(inner, head.plural, aspect), *middle, *end]
    return Pair(good, [*start, *verb_group(inner, not head.plural, aspect), *middle, *end])


def _reflexive_number(rng: random.Random) -> Pair:
    """Return ``the boys washed themselves`` / ``… himself``."""
    plural = chance(rng, 0.5)
    subject = noun_phrase(rng, pick(rng, ("male", "female")), plural)
    other = Phrase(subject.words, subject.kind, not plural, subject.gender)
    return _referring(rng, subject, other.reflexive)


def _reflexive_gender(rng: random.Random) -> Pair:
    """Return ``the queen washed herself`` / ``… himself``."""
    subject = noun_phrase(rng, pick(rng, ("male", "female")), plural=False)
    return _referring(rng, subject, "herself" if subject.gender == "m" else "himself")


def _referring(rng: random.Random, subject: Phrase, wrong: str) -> Pair:
    """Return a pair of reflexive clauses, sometimes with words before the verb."""
    verb = pick(rng, REFLEXIVE)
    tail = attribute(rng, subject.kind) if chance(rng, 0.5) else []
    group = verb_group(verb, subject.plural, aspect_for(rng, verb, PAST))
    start = [*subject.words, *tail, *group]
    end = place_phrase(rng) if chance(rng, 0.5) else []
    return Pair([*start, subject.reflexive, *end], [*start, wrong, *end])


def _determiner_noun(rng: random.Random) -> Pair:
    """Return ``the boy read these books in the garden`` / ``… these book in the garden``.

    Words follow the noun: at the end of a text, ``book`` would be a prefix of ``books`` for a
    tokenizer that splits them, and a prefix is never less probable than the whole.
    """
    subject = noun_phrase(rng, "person")
    frame = pick(rng, [key for key in FRAMES if key[0] == "person"])
    verb = pick(rng, FRAMES[frame])
    plural = chance(rng, 0.5)
    noun = noun_of(rng, frame[1])
    adjective = [pick(rng, ADJECTIVES[frame[1]])] if chance(rng, 0.4) else []
    word = pick(rng, lexicon.NUMBER_MARKING[plural])
    first = article(word, [*adjective, noun.form(plural)][0])
    start = [*subject.words, verb.past, first, *adjective]
    end = place_phrase(rng)
    return Pair([*start, noun.form(plural), *end], [*start, noun.form(not plural), *end])


def _tense(rng: random.Random) -> Pair:
    """Return ``the girl has eaten an apple`` / ``the girl has eat an apple``."""
    subject = noun_phrase(rng, pick(rng, ("person", "person", "animal")))
    verb, rest = predicate(rng, subject.kind)
    aspect = pick(rng, ("perfect", "pluperfect", "progressive", "will", "can", "must"))
    aspect = "perfect" if verb.base in lexicon.STATIVE else aspect
    *auxiliary, form = verb_group(verb, subject.plural, aspect)
    start = [*subject.words, *auxiliary]
    return Pair([*start, form, *rest], [*start, _wrong_form(verb, form), *rest])


def _wrong_form(verb: Verb, form: str) -> str:
    """Return the form that does not follow this auxiliary: ``has eat``, ``will ate``."""
    return verb.past if form == verb.base and verb.past != form else verb.base


Builder = Callable[[random.Random], Pair]
SUITES: Mapping[str, Builder] = {
    "agreement": _agreement,
    "agreement-attractor": _agreement_attractor,
    "agreement-across-relative": _agreement_across_relative,
    "agreement-inside-relative": _agreement_inside_relative,
    "reflexive-number": _reflexive_number,
    "reflexive-gender": _reflexive_gender,
    "determiner-noun": _determiner_noun,
    "tense": _tense,
}
SUITE_NAMES: Sequence[str] = ("all", *SUITES)
