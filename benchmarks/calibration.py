"""How often the verdict says yes where the truth is known: error rates and power.

    python benchmarks/calibration.py --networks 200 [--seed 0]

Every row is a sort of planted network (`deeploc.testing.planted`): localized, its selected 1 % of
the units ablated, random sets drawn until the test is decided, and judged, as `deeploc run` does.
The columns are the share of runs that said yes to each question, in per cent. Where the truth is
no, "any yes" may be at most 5 %: the last column is the smallest share that would contradict it
(the one-sided 99 % bound of the binomial distribution).
"""

import argparse
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from os import cpu_count

from scipy.stats import binom

from deeploc.analysis.deciding import deciding_of, draw_controls
from deeploc.analysis.evaluation import Evaluator
from deeploc.analysis.judging import judge
from deeploc.analysis.localization import localize
from deeploc.analysis.massive import massive_activations
from deeploc.analysis.planning import deciding_doses
from deeploc.analysis.profile import profile
from deeploc.analysis.reading import ByCondition
from deeploc.analysis.select_units import select_units
from deeploc.core.massive import MassiveActivations
from deeploc.core.readout import Readout
from deeploc.core.results import Better, Cell, Score
from deeploc.core.stats import ALPHA
from deeploc.core.units import StatMap, UnitMask
from deeploc.core.verdict import CHAIN, Network
from deeploc.testing import Planted, planted

SORTS: dict[str, tuple[Callable[[int], Planted], tuple[bool, bool, bool]]] = {
    "two halves of one condition": (
        lambda seed: planted(seed).with_null_contrast(),
        (False, False, False),
    ),
    "no selective unit (d = 0)": (lambda seed: planted(seed, effect=0.0), (False, False, False)),
    "selective, not causal (d = 1)": (
        lambda seed: planted(seed, selective_causal=0, selective_only=20),
        (True, False, False),
    ),
    "selective and causal, d = 0.5": (lambda seed: planted(seed, effect=0.5), (True, True, True)),
    "selective and causal, d = 1": (lambda seed: planted(seed, effect=1.0), (True, True, True)),
    "selective and causal, d = 2": (lambda seed: planted(seed, effect=2.0), (True, True, True)),
    "d = 1, massive units required": (
        lambda seed: planted(seed, massive_required=True),
        (True, True, True),
    ),
}
"""Name -> how to make a network of the sort, and the true answers to the questions of the chain."""


def verdict_on(network: Planted, seed: int = 0, mask: UnitMask | None = None) -> Network:
    """Localize a planted network, ablate its selected units, and answer the questions about them.

    Reliability is left out, since it decides nothing.

    Parameters
    ----------
    network
        The network.
    seed
        Of the profile and of the random sets.
    mask
        The units that are taken for selected; default those that the contrast selects.
    """
    contrast, (localizing, fresh) = network.contrast, network.halves
    stat_map = localize(network.adapter, contrast, localizing)
    mask = mask or select_units(stat_map, contrast.select)
    counts = {name: len(stimuli) for name, stimuli in localizing.items()}
    responses = profile(network.adapter, contrast, stat_map, mask, fresh, counts=counts, seed=seed)
    groups, readout = ByCondition.of(list(localizing), localizing), Readout.of(contrast.read)
    layout = stat_map.layout
    massive = massive_activations(network.adapter, groups.stimuli, layout, readout)
    better = {task.name: task.metrics for task in network.tasks}
    made = judge(
        contrast,
        stat_map,
        mask,
        profile=responses,
        reliability=None,
        massive=massive,
        scores=_scores(network, stat_map, mask, massive, seed),
        better=better,
        seed=seed,
    )
    (judged,) = made.networks
    return judged


def _scores(
    network: Planted, stat_map: StatMap, mask: UnitMask, massive: MassiveActivations, seed: int
) -> list[Score]:
    """Return the scores of the ablation that decides, and of the random sets that it takes."""
    rule, ablate = network.contrast.verdict, network.contrast.ablate
    better: dict[str, dict[str, Better]] = {t.name: dict(t.metrics) for t in network.tasks}
    evaluator = Evaluator(network.adapter, network.tasks, seed=seed)
    scores = evaluator.scores(Cell(), None)
    deciding = deciding_of(network.contrast, scores, better)
    if deciding is None:
        return scores
    units = massive.units(stat_map.layout)
    for dose in deciding_doses(stat_map, mask, ablate, rule.dose, seed, massive=units):
        draw_controls(
            evaluator,
            dose,
            deciding,
            better,
            most=rule.controls,
            on_scores=lambda new, _: scores.extend(new),
        )
    return scores


def says_yes(sort: str, seed: int) -> tuple[bool, ...]:
    """Return which questions of the chain were answered with yes in one network of a sort."""
    judged = verdict_on(SORTS[sort][0](seed), seed)
    return tuple(judged.answer(question) == "yes" for question in CHAIN)


def row(sort: str, yes: list[tuple[bool, ...]]) -> str:
    """Return a line of the table."""
    truth, n = SORTS[sort][1], len(yes)
    shares = [100 * sum(one) / n for one in zip(*yes, strict=True)]
    false = sum(any(y and not t for y, t in zip(one, truth, strict=True)) for one in yes)
    limit = (
        f"{100 * false / n:6.1f}   {100 * (binom.ppf(0.99, n, ALPHA) + 1) / n:5.1f}"
        if not all(truth)
        else "     -       -"
    )
    return f"{sort:<32}" + "".join(f"{share:10.1f}" for share in shares) + f"  {limit}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--networks", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    seeds = range(options.seed, options.seed + options.networks)
    print(f"{options.networks} networks of each sort, seeds from {options.seed}; yes in % of them")
    print(f"{'':<32}" + "".join(f"{name:>10}" for name in CHAIN) + "   false   limit")
    with ProcessPoolExecutor(cpu_count()) as pool:
        for sort in SORTS:
            print(row(sort, list(pool.map(partial(says_yes, sort), seeds))), flush=True)


if __name__ == "__main__":
    main()
