"""Texts and images that deeploc makes itself: a seed gives the same ones on every machine.

A generator is a seeded stream of records; fewer records are a prefix of more. Sentences,
arithmetic, copying and rendered images are *held out*: the bundled reference models were not
trained on them. The problems of multiple-demand may be among their training data. Images have
equal pixels where numpy and Pillow are the same.
"""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

from deeploc import entry_points
from deeploc.errors import ContrastError
from deeploc.generators import plugin as plugins
from deeploc.generators.arithmetic import (
    DIFFICULTIES,
    OPERATIONS,
    PAPER_RANGES,
    arithmetic,
    multiple_demand,
    multiple_demand_paper,
)
from deeploc.generators.copying import copying
from deeploc.generators.english.jabberwocky import jabberwocky
from deeploc.generators.english.minimal_pairs import SUITE_NAMES, minimal_pairs
from deeploc.generators.english.nonwords import nonword_lists
from deeploc.generators.english.sentences import WORDS, sentences
from deeploc.generators.english.word_lists import word_lists
from deeploc.generators.images.rendered import LABELS, SIZES, held_out_images
from deeploc.generators.theory_of_mind import HALVES, KINDS, theory_of_mind

Record = dict[str, str]


@dataclass(frozen=True)
class Generator:
    """A seeded stream of records, its options, and the default number of records.

    ``options`` maps each option to its default, ``choices`` those that are one of several names
    to these names, ``limits`` those that are a number to their smallest and largest value.
    """

    stream: Callable[[int, Mapping[str, Any]], Iterator[Record]]
    default_n: int
    options: Mapping[str, Any]
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    limits: Mapping[str, tuple[int, int]] = field(default_factory=dict)


GENERATORS: Mapping[str, Generator] = {
    "sentences": Generator(sentences, 240, {"words": 12}, limits={"words": WORDS}),
    "word-lists": Generator(word_lists, 240, {"words": 12}, limits={"words": WORDS}),
    "jabberwocky": Generator(jabberwocky, 240, {"words": 12}, limits={"words": WORDS}),
    "nonword-lists": Generator(nonword_lists, 240, {"words": 12}, limits={"words": WORDS}),
    "minimal-pairs": Generator(minimal_pairs, 400, {"suite": "all"}, {"suite": tuple(SUITE_NAMES)}),
    "arithmetic": Generator(
        arithmetic, 240, {"operation": "both"}, {"operation": tuple(OPERATIONS)}
    ),
    "copying": Generator(copying, 240, {}),
    "multiple-demand": Generator(
        multiple_demand,
        100,
        {"difficulty": "hard", "operation": "both", "fresh": False},
        {"difficulty": DIFFICULTIES, "operation": tuple(OPERATIONS)},
    ),
    "multiple-demand-paper": Generator(
        multiple_demand_paper, 100, {"difficulty": "hard"}, {"difficulty": tuple(PAPER_RANGES)}
    ),
    "theory-of-mind": Generator(
        theory_of_mind,
        20,
        {"kind": "belief", "half": "both"},
        {"kind": KINDS, "half": HALVES},
    ),
    "rendered": Generator(
        held_out_images,
        120,
        {"category": "faces", "size": 64},
        {"category": tuple(LABELS)},
        {"size": SIZES},
    ),
}


_N_OF_PLUGINS = 240
"""Records of a plugin where no number is asked for; it may have fewer."""


def names() -> list[str]:
    """Return the names of all generators, those of plugins after deeploc's own."""
    return list({**GENERATORS, **entry_points.available("deeploc.generators")})


def find(name: str) -> Generator:
    """Return a generator, deeploc's own or that of a plugin.

    Parameters
    ----------
    name
        What it is called.

    Raises
    ------
    ContrastError
        If there is no such generator.
    PluginError
        If it is a plugin that cannot be used.
    """
    if name in GENERATORS:
        return GENERATORS[name]
    if name not in names():
        listed = unknown("builtin generator", name, names())
        raise ContrastError(f"{listed}; {entry_points.OF_A_FILE}")
    plugin = entry_points.find("deeploc.generators", name)
    options, choices = plugins.declared(plugin)
    return Generator(partial(plugins.stream, plugin), _N_OF_PLUGINS, options, choices)


def generate(name: str, n: int | None, seed: int, options: Mapping[str, Any]) -> list[Record]:
    """Return the first ``n`` records of a generator.

    Parameters
    ----------
    name
        One of `names`.
    n
        How many records; ``None`` for the generator's own number.
    seed
        Chooses the stream; equal seeds give equal records on every machine.
    options
        The generator's options; those left out keep their defaults.

    Raises
    ------
    ContrastError
        If there is no such generator or option, an option's value is not usable, or the
        generator has fewer than ``n`` records.

    Examples
    --------
    >>> generate("arithmetic", 1, 0, {"operation": "add"})[0].keys()
    dict_keys(['prompt', 'completion', 'text'])
    """
    generator, settings = find(name), complete(name, options)
    wanted = generator.default_n if n is None else n
    if wanted < 1:
        raise ContrastError(f"cannot generate {wanted} {name}; ask for 1 or more")
    records = list(islice(generator.stream(seed, settings), wanted))
    fewest = wanted if n is not None or name in GENERATORS else 1
    if len(records) < fewest:
        raise ContrastError(
            f"cannot generate {wanted} {name}: only {len(records)} different ones exist with "
            f"these options; ask for {len(records)} or fewer"
        )
    return records


def complete(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a generator with defaults filled in.

    Parameters
    ----------
    name
        One of `names`.
    options
        Option -> value.

    Raises
    ------
    ContrastError
        If there is no such option, or its value has the wrong type or is not allowed.
    """
    generator = find(name)
    for option, value in options.items():
        if option not in generator.options:
            raise ContrastError(unknown(f"option of {name}", option, generator.options))
        choices = generator.choices.get(option)
        if choices is not None and value not in choices:
            raise ContrastError(unknown(f"{option} of {name}", str(value), choices))
        default = generator.options[option]
        if type(value) is not type(default):
            raise ContrastError(
                f"option {option} of {name} is {value!r}; it must be a "
                f"{type(default).__name__} such as {default!r}"
            )
        low, high = generator.limits.get(option, (value, value))
        if not low <= value <= high:
            raise ContrastError(
                f"option {option} of {name} is {value}; it must lie between {low} and {high}"
            )
    return {**generator.options, **options}


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """Return the message for a name that does not exist: the nearest one, then all of them.

    Parameters
    ----------
    what
        What the name was meant to be.
    name
        The name.
    known
        The names that exist.
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    listed = f"there are: {', '.join(names)}" if names else "it takes none"
    return f"no {what} is called {name!r}; {hint}{listed}"
