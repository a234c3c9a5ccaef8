"""Phrases of the generated English: noun phrases, verb groups, adverbials, relative clauses."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deeploc.generators.english import lexicon
from deeploc.generators.english.morphology import Noun, Verb, parse_noun, parse_verb
from deeploc.generators.rng import chance, pick

GENDERS = {"male": "m", "female": "f"}
HUMAN = ("male", "female", "person")

NOUNS: Mapping[str, Sequence[Noun]] = {
    kind: [parse_noun(entry, kind, GENDERS.get(kind, "")) for entry in entries]
    for kind, entries in lexicon.NOUNS.items()
}
FRAMES: Mapping[tuple[str, str], Sequence[Verb]] = {
    frame: [parse_verb(entry) for entry in entries] for frame, entries in lexicon.FRAMES.items()
}
INTRANSITIVE = {
    kind: [parse_verb(entry) for entry in entries] for kind, entries in lexicon.INTRANSITIVE.items()
}
REFLEXIVE = [parse_verb(entry) for entry in lexicon.REFLEXIVE]
GIVE = [parse_verb(entry) for entry in lexicon.GIVE]
SAY = [parse_verb(entry) for entry in lexicon.SAY]
ADJECTIVES = {kind: words.split() for kind, words in lexicon.ADJECTIVES.items()}
STATES = {kind: words.split() for kind, words in lexicon.STATES.items()}

PAST = ("past", "past", "past", "past-progressive", "pluperfect")
PRESENT = ("present", "present", "present", "progressive", "perfect")
FUTURE = ("will", "will", "can", "must")
TENSES = (PAST, PAST, PRESENT, PRESENT, FUTURE)
SILENT_H = frozenset({"honest", "hour"})


@dataclass(frozen=True, slots=True)
class Phrase:
    """A noun phrase, and the kind, number and gender of its head."""

    words: list[str]
    kind: str
    plural: bool
    gender: str = ""

    @property
    def reflexive(self) -> str:
        """The pronoun that refers back to this phrase."""
        if self.plural:
            return "themselves"
        return {"m": "himself", "f": "herself"}.get(self.gender, "itself")


def verb_group(verb: Verb, plural: bool, aspect: str) -> list[str]:
    """Return the verb with its auxiliaries, agreeing with the subject.

    Parameters
    ----------
    verb
        The main verb.
    plural
        The number of the subject.
    aspect
        A form in `PAST`, `PRESENT` or `FUTURE`.

    Examples
    --------
    >>> verb_group(parse_verb("carry"), plural=True, aspect="progressive")
    ['are', 'carrying']
    """
    groups = {
        "past": [verb.past],
        "past-progressive": [be("past", plural), verb.progressive],
        "pluperfect": ["had", verb.participle],
        "present": [verb.present(plural)],
        "progressive": [be("present", plural), verb.progressive],
        "perfect": ["have" if plural else "has", verb.participle],
    }
    return groups.get(aspect) or [aspect, verb.base]


def be(tense: str, plural: bool) -> str:
    """Return the form of *be* that agrees with the subject.

    Parameters
    ----------
    tense
        ``past``; anything else is the present.
    plural
        The number of the subject.
    """
    if tense == "past":
        return "were" if plural else "was"
    return "are" if plural else "is"


def aspect_for(rng: random.Random, verb: Verb, tense: Sequence[str]) -> str:
    """Return a form of a tense that the verb allows: a stative verb has no progressive.

    Parameters
    ----------
    rng
        Decides the form.
    verb
        The verb.
    tense
        `PAST`, `PRESENT` or `FUTURE`.
    """
    aspect = pick(rng, tense)
    stative = verb.base in lexicon.STATIVE and aspect.endswith("progressive")
    return tense[0] if stative else aspect


def noun_of(rng: random.Random, kind: str) -> Noun:
    """Return a noun of a kind.

    Parameters
    ----------
    rng
        Decides the noun.
    kind
        One of `NOUNS`; ``person`` stands for any human noun.
    """
    return pick(rng, NOUNS[pick(rng, HUMAN) if kind == "person" else kind])


def _determiner(rng: random.Random, plural: bool) -> str:
    """Return a determiner of this number; ``a`` becomes ``an`` in `article`."""
    return pick(rng, lexicon.PLURAL_DETERMINERS if plural else lexicon.SINGULAR_DETERMINERS)


def article(word: str, following: str) -> str:
    """Return ``an`` for ``a`` before a vowel sound, else the word itself.

    Parameters
    ----------
    word
        Any determiner.
    following
        The next word.
    """
    vowel = following[0] in "aeiou" or following in SILENT_H
    return "an" if word == "a" and vowel else word


def noun_phrase(
    rng: random.Random, kind: str, plural: bool | None = None, names: bool = True
) -> Phrase:
    """Return determiner, sometimes an adjective, and noun; sometimes a name for a person.

    Parameters
    ----------
    rng
        Decides the words.
    kind
        One of `NOUNS`.
    plural
        The number; None: either.
    names
        Whether a name may stand for a person.
    """
    plural = chance(rng, 0.4) if plural is None else plural
    if kind == "person" and names and not plural and chance(rng, 0.2):
        return _proper_name(rng)
    noun = noun_of(rng, kind)
    described = "person" if noun.kind in HUMAN else noun.kind
    adjective = [pick(rng, ADJECTIVES[described])] if chance(rng, 0.3) else []
    rest = [*adjective, noun.form(plural)]
    first = article(_determiner(rng, plural), rest[0])
    return Phrase([first, *rest], described, plural, noun.gender)


def _proper_name(rng: random.Random) -> Phrase:
    """Return a first name."""
    gender = pick(rng, "mf")
    names = lexicon.MALE_NAMES if gender == "m" else lexicon.FEMALE_NAMES
    return Phrase([pick(rng, names)], "person", False, gender)


def place_phrase(rng: random.Random) -> list[str]:
    """Return an adverbial of place: ``in the garden``."""
    if chance(rng, 0.7):
        noun = pick(rng, NOUNS["place"]).singular
        inside = noun not in {"lake", "river", "street", "station", "island", "beach", "farm"}
        prepositions = ("in", "in", "near", "behind") if inside else ("near",)
        return [pick(rng, prepositions), pick(rng, ("the", "the", "the", "our", "this")), noun]
    return [pick(rng, ("near", "behind", "beside")), *noun_phrase(rng, "building", False).words]


def attribute(rng: random.Random, kind: str, plural: bool | None = None) -> list[str]:
    """Return a prepositional phrase behind a noun, whose own noun is an attractor for verbs.

    Parameters
    ----------
    rng
        Decides the words.
    kind
        The kind of the noun that it follows.
    plural
        The number of its own noun; None: either.
    """
    about = {
        "person": [("near", "building"), ("with", "animal"), ("behind", "person"),
                   ("with", "thing"), ("beside", "vehicle")],
        "animal": [("near", "building"), ("behind", "furniture"), ("beside", "person"),
                   ("under", "furniture")],
        "readable": [("about", "person"), ("about", "animal"), ("on", "furniture")],
        "building": [("near", "place"), ("behind", "building")],
    }  # fmt: skip
    default = [("on", "furniture"), ("near", "furniture"), ("behind", "thing"), ("of", "person")]
    preposition, other = pick(rng, about.get(kind, default))
    return [preposition, *noun_phrase(rng, other, plural, names=False).words]


def relative_clause(rng: random.Random, head: Phrase, tense: Sequence[str]) -> list[str]:
    """Return a relative clause: ``who the girls admire``, ``that ate a pie``.

    Parameters
    ----------
    rng
        Decides the words.
    head
        The phrase that it follows.
    tense
        `PAST` or `PRESENT`; `FUTURE` becomes `PRESENT`.
    """
    tense = PRESENT if "will" in tense else tense
    if head.kind in ("person", "animal") and chance(rng, 0.5):
        return _subject_relative(rng, head, tense)
    frame = pick(rng, [key for key in FRAMES if key[1] == head.kind])
    verb = pick(rng, FRAMES[frame])
    subject = noun_phrase(rng, frame[0])
    group = verb_group(verb, subject.plural, aspect_for(rng, verb, tense))
    # "that that horse" is English, but reads like a typing error.
    first = "the" if subject.words[0] == "that" else subject.words[0]
    return [relativizer(head), first, *subject.words[1:], *group]


def _subject_relative(rng: random.Random, head: Phrase, tense: Sequence[str]) -> list[str]:
    """Return a relative clause whose subject is the head."""
    frame = pick(rng, [key for key in FRAMES if key[0] == head.kind])
    verb = pick(rng, FRAMES[frame])
    group = verb_group(verb, head.plural, aspect_for(rng, verb, tense))
    return [relativizer(head), *group, *noun_phrase(rng, frame[1]).words]


def relativizer(head: Phrase) -> str:
    """Return ``who`` for people, ``that`` for the rest."""
    return "who" if head.kind == "person" else "that"


def modified(rng: random.Random, head: Phrase, tense: Sequence[str]) -> Phrase:
    """Return a phrase, half of the time followed by a prepositional phrase or relative clause.

    Parameters
    ----------
    rng
        Decides the words.
    head
        The phrase.
    tense
        That of a relative clause.
    """
    if len(head.words) == 1 or chance(rng, 0.5):
        return head
    has_relative = any(key[1] == head.kind for key in FRAMES)
    relative = has_relative and chance(rng, 0.5)
    tail = relative_clause(rng, head, tense) if relative else attribute(rng, head.kind)
    return Phrase([*head.words, *tail], head.kind, head.plural, head.gender)
