"""False belief against false photograph: stories of one plot, in a mind and on paper."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import chain
from typing import Any

import yaml
from pydantic import TypeAdapter

from deeploc.generators.rng import new_rng, shuffled

KINDS = ("belief", "photograph")
HALVES = ("both", "first", "second")


@dataclass(frozen=True)
class Story:
    """Three sentences, and a question about what a person believes or an image shows."""

    text: str
    question: str


@dataclass(frozen=True)
class StoryPair:
    """Two stories of one plot; `theory_of_mind.yaml` says what its fields mean."""

    named: tuple[str, str]
    recorded: str
    belief: Story
    photograph: Story

    def __post_init__(self) -> None:
        if self.recorded not in self.named:
            raise ValueError(f"recorded is {self.recorded!r}; it must be one of {self.named}")


@cache
def story_pairs(half: str) -> tuple[StoryPair, ...]:
    """Return the pairs of stories of one of `HALVES`."""
    text = (files("deeploc.generators") / "theory_of_mind.yaml").read_text(encoding="utf-8")
    pairs = TypeAdapter(dict[str, tuple[StoryPair, ...]]).validate_python(yaml.safe_load(text))
    return (*pairs["first"], *pairs["second"]) if half == "both" else pairs[half]


def theory_of_mind(seed: int, options: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Yield stories of one kind in an order of the seed; record k of both kinds is one pair.

    The right answer is in turn the state that the story names first and the one that it names
    second, so that every even number of records is balanced. ``options`` is a JSON list in the
    order of naming. ``text`` is the prompt of the question, without the answer: it ends in
    ``Answer:``, the same token for both kinds.

    Parameters
    ----------
    seed
        Decides the order.
    options
        ``kind``, one of `KINDS`, and ``half``, one of `HALVES`.
    """
    rng = new_rng("theory-of-mind", options["half"], seed)
    by_answer = [
        shuffled(rng, (p for p in story_pairs(options["half"]) if p.recorded == p.named[position]))
        for position in (0, 1)
    ]
    for pair in chain.from_iterable(zip(*by_answer, strict=True)):
        story = pair.belief if options["kind"] == "belief" else pair.photograph
        yield {
            "text": f"{story.text}\nQuestion: {story.question}\nAnswer:",
            "story": story.text,
            "question": story.question,
            "options": json.dumps(pair.named),
            "answer": pair.recorded,
        }
