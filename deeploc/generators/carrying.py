"""Sums and differences of two-digit numbers, with a carry or borrow (hard) or without (easy).

Every hard problem has one easy partner with the same sign and the same tens digits: a difference
swaps its units digits (``42 - 17`` and ``47 - 12``), in a sum each becomes nine less itself
(``27 + 15`` and ``22 + 14``). So operands and answers have two digits in both difficulties, tens
digits are equal pair by pair, and answers nearly equal on average: hard sums are as much larger
than easy ones (7.3 over all pairs) as hard differences are smaller.
"""

from collections.abc import Iterator, Mapping
from itertools import chain, product
from typing import Any

from deeploc.generators.arithmetic import record
from deeploc.generators.rng import is_held_out, new_rng, shuffled

DIFFICULTIES = ("hard", "easy")
OPERATIONS = ("both", "add", "subtract")
TENS = (1, 2, 3, 4)  # operands 10 to 49, the numbers that the bundled language model knows
UNITS = range(10)

Pair = Mapping[str, str]
"""Difficulty -> problem."""


def carrying(seed: int, options: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Yield problems of one difficulty, a sum and a difference in turn, in an order of the seed.

    Record k is hard and easy the two partners of one pair. The stimulus (column ``text``) is the
    problem up to the equals sign: the answer is still to be found there, and it is the same last
    token for both. ``operation`` keeps to sums or to differences. ``fresh`` problems are those of
    other pairs, whatever the seeds; `is_fresh` tells.
    """
    rng = new_rng("multiple-demand", options["fresh"], seed)
    pools = {
        operation: shuffled(rng, (pair for pair in pairs if is_fresh(pair) is options["fresh"]))
        for operation, pairs in (("add", list(sums())), ("subtract", list(differences())))
    }
    operation = options["operation"]
    asked = list(pools.values()) if operation == "both" else [pools[operation]]
    for pair in chain.from_iterable(zip(*asked, strict=False)):
        solved = record(pair[options["difficulty"]])
        yield {**solved, "text": solved["prompt"]}


def is_fresh(pair: Pair) -> bool:
    """Return whether a pair is kept for evaluation.

    The name in front makes the hash another one than that which keeps problems from the bundled
    language model; with the same, all hard problems it never saw would be fresh.
    """
    return is_held_out(f"multiple-demand {pair['hard']}")


def sums() -> Iterator[Pair]:
    """Yield every sum whose units carry, and its partner.

    Examples
    --------
    >>> next(sums())
    {'hard': '11 + 19', 'easy': '18 + 10'}
    """
    for a, b, x, y in product(TENS, TENS, UNITS, UNITS):
        if x + y >= 10:
            yield {"hard": f"{a}{x} + {b}{y}", "easy": f"{a}{9 - x} + {b}{9 - y}"}


def differences() -> Iterator[Pair]:
    """Yield every difference that borrows and leaves two digits, and its partner.

    Examples
    --------
    >>> next(differences())
    {'hard': '30 - 11', 'easy': '31 - 10'}
    """
    for a, b, x, y in product(TENS, TENS, UNITS, UNITS):
        if a - b >= 2 and x < y:
            yield {"hard": f"{a}{x} - {b}{y}", "easy": f"{a}{y} - {b}{x}"}
