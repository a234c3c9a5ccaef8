"""Small arithmetic, ``12 + 7 = 19``; every problem is either trained on or held out."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from deeploc.generators.rng import is_held_out, new_rng, pick, shuffled

ONE_IN = 8  # problems held out
LARGEST = 49  # largest operand


def arithmetic(seed: int, options: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Yield the held-out problems in an order drawn from the seed; there are finitely many."""
    signs = {"both": ("+", "-"), "add": ("+",), "subtract": ("-",)}[options["operation"]]
    held_out = [problem for problem in problems(signs) if is_held_out(problem, ONE_IN)]
    for problem in shuffled(new_rng("arithmetic", seed), held_out):
        yield record(problem)


def training_arithmetic(seed: int) -> Iterator[dict[str, str]]:
    """Yield the records of problems that are not held out, without end."""
    rng = new_rng("training-arithmetic", seed)
    known = [problem for problem in problems(("+", "-")) if not is_held_out(problem, ONE_IN)]
    while True:
        yield record(pick(rng, known))


def problems(signs: Sequence[str]) -> list[str]:
    """Return every problem with operands 0 to `LARGEST` and a result that is not negative."""
    numbers = range(LARGEST + 1)
    return [f"{a} {s} {b}" for s in signs for a in numbers for b in numbers if s == "+" or a >= b]


def record(problem: str) -> dict[str, str]:
    """Return the problem as prompt and completion.

    Examples
    --------
    >>> record("12 + 7")["text"]
    '12 + 7 = 19'
    """
    left, sign, right = problem.split()
    result = int(left) + int(right) if sign == "+" else int(left) - int(right)
    prompt, completion = f"{problem} =", f" {result}"
    return {"prompt": prompt, "completion": completion, "text": prompt + completion}
