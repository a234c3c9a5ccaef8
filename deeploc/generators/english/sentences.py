"""English from a small grammar: clauses, sentences, and the training stream.

Lower case and without punctuation, so that the last token of a stimulus ends a word.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from deeploc.generators.english import lexicon
from deeploc.generators.english.morphology import Verb
from deeploc.generators.english.phrases import (
    FRAMES,
    GIVE,
    INTRANSITIVE,
    NOUNS,
    REFLEXIVE,
    SAY,
    STATES,
    TENSES,
    Phrase,
    aspect_for,
    attribute,
    be,
    modified,
    noun_phrase,
    place_phrase,
    verb_group,
)
from deeploc.generators.rng import chance, distinct, is_held_out, new_rng, pick

WORDS = (5, 18)  # fewest and most words of the sentences that the grammar makes often enough


def sentences(seed: int, options: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Yield held-out sentences of exactly ``words`` words.

    Parameters
    ----------
    seed
        Decides the sentences.
    options
        ``words``, between the two numbers in `WORDS`.
    """
    words = options["words"]
    rng = new_rng("sentences", words, seed)
    stream = (" ".join(_sentence(rng)) for _ in iter(int, 1))
    fitting = (text for text in stream if text.count(" ") == words - 1 and is_held_out(text))
    yield from ({"text": text} for text in distinct(fitting))


def training_sentences(seed: int) -> Iterator[dict[str, str]]:
    """Yield sentences of every length without end, none of them held out."""
    rng = new_rng("training-sentences", seed)
    while True:
        text = " ".join(_sentence(rng))
        if not is_held_out(text):
            yield {"text": text}


def _sentence(rng: random.Random) -> list[str]:
    """Return the words of one sentence: one clause, two joined, or one inside another."""
    tense = pick(rng, TENSES)
    shape = rng.random()
    if shape < 0.70:
        return _clause(rng, tense)
    if shape < 0.85:
        subject = noun_phrase(rng, "person")
        verb = pick(rng, SAY)
        group = verb_group(verb, subject.plural, aspect_for(rng, verb, tense[:1]))
        return [*subject.words, *group, "that", *_clause(rng, pick(rng, TENSES), plain=True)]
    joint = pick(rng, ("and", "but", "because", "while", "when"))
    return [*_clause(rng, tense[:1], plain=True), joint, *_clause(rng, tense[:1], plain=True)]


def _clause(rng: random.Random, tense: Sequence[str], plain: bool = False) -> list[str]:
    """Return one clause; a plain one has no modified subject and no adverbials."""
    kind = rng.random()
    if kind < 0.60:
        return _active(rng, tense, plain)
    if kind < 0.75:
        return _copular(rng, tense, plain)
    if kind < 0.87:
        return _reflexive(rng, tense, plain)
    return _passive(rng, tense, plain) if kind < 0.96 else _existential(rng, tense)


def _active(rng: random.Random, tense: Sequence[str], plain: bool) -> list[str]:
    """Return a clause with an acting subject, sometimes with adverbials around it."""
    subject = _subject_phrase(
        rng, pick(rng, ("person", "person", "person", "animal")), tense, plain
    )
    verb, rest = predicate(rng, subject.kind)
    return _with_adverbials(rng, subject, verb, rest, tense, plain=plain)


def predicate(rng: random.Random, kind: str) -> tuple[Verb, list[str]]:
    """Return a verb that a kind of subject takes, and the words that follow the verb.

    Parameters
    ----------
    rng
        Decides the words.
    kind
        ``person`` or ``animal``.
    """
    shape = rng.random()
    if shape < 0.2:
        return pick(rng, INTRANSITIVE[kind]), place_phrase(rng)
    if kind == "person" and shape < 0.3:
        given = noun_phrase(rng, pick(rng, ("thing", "readable", "food")))
        return pick(rng, GIVE), [*given.words, "to", *noun_phrase(rng, "person").words]
    frame = pick(rng, [key for key in FRAMES if key[0] == kind])
    complement = noun_phrase(rng, frame[1])
    tail = attribute(rng, frame[1]) if chance(rng, 0.15) else []
    return pick(rng, FRAMES[frame]), [*complement.words, *tail]


def _subject_phrase(
    rng: random.Random, kind: str, tense: Sequence[str], plain: bool, plural: bool | None = None
) -> Phrase:
    """Return a subject, modified unless the clause is plain."""
    phrase = noun_phrase(rng, kind, plural)
    return phrase if plain else modified(rng, phrase, tense)


def _with_adverbials(
    rng: random.Random,
    subject: Phrase,
    verb: Verb,
    rest: list[str],
    tense: Sequence[str],
    *,
    plain: bool,
) -> list[str]:
    """Return subject, verb and rest, with adverbials of frequency, manner, place or time."""
    aspect = aspect_for(rng, verb, tense)
    group = verb_group(verb, subject.plural, aspect)
    if not plain and len(group) == 1 and chance(rng, 0.15):
        group = [pick(rng, lexicon.FREQUENCY), *group]
    body = [*subject.words, *group, *rest]
    if plain:
        return body
    if verb.base not in lexicon.STATIVE and chance(rng, 0.15):
        body = [*body, pick(rng, lexicon.MANNER)]
    if rest[:1] != ["in"] and chance(rng, 0.25):
        body = [*body, *place_phrase(rng)]
    if chance(rng, 0.3):
        time = pick(rng, lexicon.TIMES[aspect]).split()
        return [*time, *body] if chance(rng, 0.3) else [*body, *time]
    return body


def _copular(rng: random.Random, tense: Sequence[str], plain: bool) -> list[str]:
    """Return a clause about a state: ``the keys on the table are missing``."""
    kind = pick(rng, ("person", *STATES))
    subject = _subject_phrase(rng, kind, tense, plain)
    return [*subject.words, *_be_group(tense[0], subject.plural), pick(rng, STATES[subject.kind])]


def _be_group(aspect: str, plural: bool) -> list[str]:
    """Return *be* as a full verb in one of the three tenses."""
    return [aspect, "be"] if aspect in ("will", "can", "must") else [be(aspect, plural)]


def _reflexive(rng: random.Random, tense: Sequence[str], plain: bool) -> list[str]:
    """Return a clause whose object refers back to its subject."""
    plural = chance(rng, 0.4)
    kind = "person" if plural else pick(rng, ("male", "female"))
    subject = _subject_phrase(rng, kind, tense, plain, plural)
    verb = pick(rng, REFLEXIVE)
    return _with_adverbials(rng, subject, verb, [subject.reflexive], tense, plain=plain)


def _passive(rng: random.Random, tense: Sequence[str], plain: bool) -> list[str]:
    """Return a clause about what is done to something: ``the letter was written by the poet``."""
    frame = pick(rng, [key for key in FRAMES if key[0] == "person" and key[1] != "person"])
    subject = _subject_phrase(rng, frame[1], tense, plain)
    verb = pick(rng, FRAMES[frame])
    group = [*_be_group(tense[0], subject.plural), verb.participle]
    return [*subject.words, *group, "by", *noun_phrase(rng, "person").words]


def _existential(rng: random.Random, tense: Sequence[str]) -> list[str]:
    """Return a clause with *there is* or *there are*."""
    plural = chance(rng, 0.5)
    noun = pick(rng, NOUNS[pick(rng, ("person", "animal", "thing", "vehicle"))])
    quantity = pick(
        rng, ("two", "three", "four", "many", "some", "several") if plural else ("one",)
    )
    there = ["there", *_be_group(tense[0], plural), quantity, noun.form(plural)]
    return [*there, *place_phrase(rng)]
