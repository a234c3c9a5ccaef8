"""False belief against false photograph: stories of one plot, in a mind and on paper."""

import json
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from deeploc.generators.rng import new_rng, shuffled
from deeploc.generators.stories_first import FIRST_HALF
from deeploc.generators.stories_second import SECOND_HALF

KINDS = ("belief", "photograph")
HALVES = {"both": (*FIRST_HALF, *SECOND_HALF), "first": FIRST_HALF, "second": SECOND_HALF}


def theory_of_mind(seed: int, options: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Yield stories of one kind in an order of the seed; record k of both kinds is one pair.

    The right answer is in turn the state that the story names first and the one that it names
    second, so that every even number of records is balanced. ``options`` is a JSON list in the
    order of naming. ``text`` is the prompt of the question, without the answer: it ends in
    ``Answer:``, the same token for both kinds.
    """
    rng = new_rng("theory-of-mind", options["half"], seed)
    pairs = HALVES[options["half"]]
    by_answer = [
        shuffled(rng, (pair for pair in pairs if pair.recorded == pair.named[position]))
        for position in (0, 1)
    ]
    for pair in chain.from_iterable(zip(*by_answer, strict=True)):
        story = pair.stories[options["kind"]]
        yield {
            "text": f"{story.text}\nQuestion: {story.question}\nAnswer:",
            "story": story.text,
            "question": story.question,
            "options": json.dumps(pair.named),
            "answer": pair.recorded,
        }
