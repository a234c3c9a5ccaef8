"""Family-wise error over chains of hypotheses."""

from itertools import product

import numpy as np
import pytest

from deeploc.core.gatekeeping import gatekeep
from deeploc.core.multiplicity import holm


def replies(chains: dict[str, list[float | None]]) -> dict[str, list[bool]]:
    return {name: [t.rejected for t in chain] for name, chain in gatekeep(chains).items()}


def test_single_hypotheses_are_holms() -> None:
    """Chains of length one are the procedure of Holm, for every order of magnitude."""
    rng = np.random.default_rng(0)
    for _ in range(500):
        p = rng.uniform(0, 0.12, 4)
        ours = replies({str(i): [float(value)] for i, value in enumerate(p)})

        assert [ours[str(i)][0] for i in range(4)] == (holm(p) <= 0.05).tolist()


@pytest.mark.parametrize(
    ("chains", "expected"),
    [
        ({"a": [0.01, 0.2, 0.001]}, {"a": [True, False, False]}),
        ({"a": [0.04, 0.04]}, {"a": [True, True]}),
        ({"a": [0.03], "b": [0.5]}, {"a": [False], "b": [False]}),
        ({"a": [0.01], "b": [0.04]}, {"a": [True], "b": [True]}),
        ({"a": [0.01, 0.9], "b": [0.04]}, {"a": [True, False], "b": [False]}),
        ({"a": [0.01, None], "b": [0.04]}, {"a": [True, False], "b": [False]}),
        ({"a": [None, 0.001]}, {"a": [False, False]}),
        ({"a": []}, {"a": []}),
    ],
)
def test_chains_by_hand(
    chains: dict[str, list[float | None]], expected: dict[str, list[bool]]
) -> None:
    """A chain ends at its first failure, and passes its share on only when it is complete."""
    assert replies(chains) == expected


def test_what_was_not_reached_has_no_level() -> None:
    """The level says at which share a hypothesis was tested, 0 where it was not."""
    results = gatekeep({"a": [0.01, 0.5, 0.001], "b": [0.01]})

    assert [t.level for t in results["a"]] == [0.05, 0.05, 0.0]
    assert [t.level for t in results["b"]] == [0.025]


def test_order_of_the_chains_does_not_matter() -> None:
    """Any order of the names gives the same rejections."""
    values = [0.001, 0.02, 0.03, 0.06]
    for p in product(values, repeat=4):
        chains: dict[str, list[float | None]] = {"a": [p[0], p[1]], "b": [p[2], p[3]], "c": [0.012]}
        backwards = dict(reversed(chains.items()))

        assert replies(chains) == replies(backwards)


def test_family_wise_error_is_at_most_the_level() -> None:
    """Whichever hypotheses are true, the chance of rejecting a true one stays at 5 %."""
    rng = np.random.default_rng(1)
    n = 2000
    for truth in product([False, True], repeat=4):  # which null hypotheses hold
        errors = 0
        for _ in range(n):
            p = np.where(truth, rng.uniform(size=4), 1e-9).tolist()
            a, b = replies({"a": p[:2], "b": p[2:]}).values()
            errors += any(t and r for t, r in zip(truth, [*a, *b], strict=True))

        assert errors / n <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / n)
