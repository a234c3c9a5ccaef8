"""Inflection: the plural of a noun and the five forms of a verb."""

from dataclasses import dataclass

VOWELS = "aeiou"


@dataclass(frozen=True, slots=True)
class Noun:
    """A noun with both numbers; ``kind`` says what it denotes, ``gender`` is m, f or empty."""

    singular: str
    plural: str
    kind: str
    gender: str = ""

    def form(self, plural: bool) -> str:
        """Return the singular or the plural."""
        return self.plural if plural else self.singular


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb with its forms: eat, eats, ate, eaten, eating."""

    base: str
    third: str
    past: str
    participle: str
    progressive: str

    def present(self, plural: bool) -> str:
        """Return the present tense that agrees with a third-person subject."""
        return self.base if plural else self.third


def parse_noun(entry: str, kind: str, gender: str = "") -> Noun:
    """Return the noun that an entry of the lexicon describes.

    Parameters
    ----------
    entry
        ``singular`` or ``singular/plural``.
    kind
        What it denotes.
    gender
        m, f or empty.

    Examples
    --------
    >>> parse_noun("cherry", "food").plural, parse_noun("mouse/mice", "animal").plural
    ('cherries', 'mice')
    """
    singular, _, plural = entry.partition("/")
    return Noun(singular, plural or _add_s(singular), kind, gender)


def parse_verb(entry: str) -> Verb:
    """Return the verb of an entry ``base``, ``base/past/participle`` or ``…/progressive``.

    Examples
    --------
    >>> verb = parse_verb("eat/ate/eaten")
    >>> verb.third, verb.past, verb.participle, verb.progressive
    ('eats', 'ate', 'eaten', 'eating')
    """
    base, *irregular = entry.split("/")
    past, participle = irregular[:2] if irregular else (_add_ed(base), _add_ed(base))
    progressive = irregular[2] if len(irregular) > 2 else _add_ing(base)
    return Verb(base, _add_s(base), past, participle, progressive)


def _add_s(word: str) -> str:
    """Return the word with the regular ending of plural nouns and of third-person verbs."""
    if word.endswith("y") and word[-2] not in VOWELS:
        return word[:-1] + "ies"
    return word + ("es" if word.endswith(("s", "x", "ch", "sh", "z")) else "s")


def _add_ed(word: str) -> str:
    """Return the regular past tense; doubled consonants are written in the lexicon."""
    if word.endswith("y") and word[-2] not in VOWELS:
        return word[:-1] + "ied"
    return word + ("d" if word.endswith("e") else "ed")


def _add_ing(word: str) -> str:
    """Return the word with the regular ending of the progressive."""
    if word.endswith("e") and not word.endswith("ee"):
        word = word[:-1]
    return word + "ing"
