"""The multiple-demand stimuli of AlKhamissi et al. (2025), draw for draw."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

RANGES = {"hard": (100, 200), "easy": (1, 20)}  # upper ends excluded


def multiple_demand(seed: int, options: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Yield ``Question: Solve A + B?`` and its answer, hard or easy; repeats are part of it.

    Source: BKHMSI/llm-localization at commit ff6d4f9, which draws with NumPy's legacy generator
    (seed 42) in the order first number, second number, operator.
    """
    low, high = RANGES[options["difficulty"]]
    # The legacy generator is the protocol: the published stimuli are its stream.
    rng = np.random.RandomState(seed)
    while True:
        first, second = int(rng.randint(low, high)), int(rng.randint(low, high))
        operator = str(rng.choice(["+", "-"]))
        answer = first + second if operator == "+" else first - second
        yield {"text": f"Question: Solve {first} {operator} {second}?\nAnswer: {answer}"}
