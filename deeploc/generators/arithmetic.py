"""Sums and differences: small ones, those that need a carry, and those of a published contrast."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, product
from typing import Any

import numpy as np

from deeploc.generators.rng import is_held_out, new_rng, pick, shuffled

ONE_IN = 8  # problems held out
LARGEST = 49  # largest operand

OPERATIONS: Mapping[str, Sequence[str]] = {"both": "+-", "add": "+", "subtract": "-"}
"""Option -> the signs of its problems."""

DIFFICULTIES = ("hard", "easy")
TENS = (1, 2, 3, 4)  # operands 10 to 49, the numbers that the bundled language model knows
UNITS = range(10)
PAPER_RANGES = {"hard": (100, 200), "easy": (1, 20)}  # upper ends excluded

Pair = Mapping[str, str]
"""Difficulty -> problem."""


def arithmetic(seed: int, options: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Yield the held-out problems; there are finitely many.

    Every problem is either one that the bundled language model was trained on or held out.

    Parameters
    ----------
    seed
        Decides the order.
    options
        ``operation``, one of `OPERATIONS`.
    """
    every = _problems(OPERATIONS[options["operation"]])
    held_out = [problem for problem in every if is_held_out(problem, ONE_IN)]
    for problem in shuffled(new_rng("arithmetic", seed), held_out):
        yield _record(problem)


def training_arithmetic(seed: int) -> Iterator[dict[str, str]]:
    """Yield the records of problems that are not held out, without end."""
    rng = new_rng("training-arithmetic", seed)
    known = [p for p in _problems(OPERATIONS["both"]) if not is_held_out(p, ONE_IN)]
    while True:
        yield _record(pick(rng, known))


def _problems(signs: Sequence[str]) -> list[str]:
    """Return every problem with operands 0 to `LARGEST` and a result that is not negative."""
    numbers = range(LARGEST + 1)
    return [f"{a} {s} {b}" for s in signs for a in numbers for b in numbers if s == "+" or a >= b]


def _record(problem: str) -> dict[str, str]:
    """Return the problem as prompt and completion.

    Examples
    --------
    >>> _record("12 + 7")["text"]
    '12 + 7 = 19'
    """
    left, sign, right = problem.split()
    result = int(left) + int(right) if sign == "+" else int(left) - int(right)
    prompt, completion = f"{problem} =", f" {result}"
    return {"prompt": prompt, "completion": completion, "text": prompt + completion}


def multiple_demand(seed: int, options: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Yield problems that need a carry or borrow (hard) or none (easy), signs in turn.

    Every hard problem has one easy partner with the same sign and the same tens digits: a
    difference swaps its units digits (``42 - 17`` and ``47 - 12``), in a sum each becomes nine
    minus itself (``27 + 15`` and ``22 + 14``). So operands and answers have two digits in both
    difficulties, tens digits are equal pair by pair, and answers nearly equal on average: hard
    sums are as much larger than easy ones (7.3 over all pairs) as hard differences are smaller.

    Record k is hard and easy the two partners of one pair. The stimulus (column ``text``) is the
    problem up to the equals sign: the answer is still to be computed at that token, which is the
    same for both.

    Parameters
    ----------
    seed
        Decides the order.
    options
        ``difficulty``, one of `DIFFICULTIES`; ``operation``, one of `OPERATIONS`; ``fresh``,
        whether the problems are of the pairs kept for evaluation (`is_fresh`): all or none are.
    """
    fresh = options["fresh"]
    rng = new_rng("multiple-demand", fresh, seed)
    pools = {
        sign: shuffled(rng, (pair for pair in pairs if is_fresh(pair) is fresh))
        for sign, pairs in (("+", list(sums())), ("-", list(differences())))
    }
    wanted = [pools[sign] for sign in OPERATIONS[options["operation"]]]
    for pair in chain.from_iterable(zip(*wanted, strict=False)):
        solved = _record(pair[options["difficulty"]])
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


def multiple_demand_paper(seed: int, options: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Yield ``Question: Solve A + B?`` and its answer; repeats are part of it.

    Parameters
    ----------
    seed
        That of the published stimuli is 42.
    options
        ``difficulty``, one of `PAPER_RANGES`.

    Source: BKHMSI/llm-localization at commit ff6d4f9 (AlKhamissi et al., 2025), which samples with
    NumPy's legacy generator (seed 42) in the order first number, second number, operator.
    """
    low, high = PAPER_RANGES[options["difficulty"]]
    # The legacy generator is the protocol: the published stimuli are its stream.
    rng = np.random.RandomState(seed)
    while True:
        first, second = int(rng.randint(low, high)), int(rng.randint(low, high))
        operator = str(rng.choice(["+", "-"]))
        answer = first + second if operator == "+" else first - second
        yield {"text": f"Question: Solve {first} {operator} {second}?\nAnswer: {answer}"}
