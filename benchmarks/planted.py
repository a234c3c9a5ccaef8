"""What published rules get wrong where the truth is known: one table over planted networks.

    python benchmarks/planted.py --networks 40

Localizing: networks with every kind of unit (`deeploc.testing.planted` and its defaults, Cohen's
d = 1). AUROC is that of the rule's score for the selective units against all others; beside it
stands what the selected 1 % consists of.

Calling a set causal: networks in which the 20 selective units are causal, in which they are not,
and in which none is selective (d = 0). In all of them two massive units carry a constant that the
network cannot do without, as Sun et al. (2024, arXiv 2402.17762) found in language models.
The selected units are held at 0, and the outcome is the nll of further targets. A rule with
matched random sets calls the units causal if p <= 0.05; the one without control, if the nll of
the items rises (paired t, one-sided p <= 0.05); the one with 3 random sets, if all of them do less.
A matched set that happens to hold a required massive unit does more than any causal units; with
five such sets among 99, a set of causal units is not called causal.

Rules: Welch's t of |activation| and 3 random sets from all other units are those of AlKhamissi et
al. (2025, arXiv 2411.02280); the absolute mean difference without a control is that of
deeplocalizer 0.0.3; Welch's t with matched sets is deeploc's.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from scipy import stats as reference
from sklearn.metrics import roc_auc_score

import deeploc
from deeploc import UnitMask, UnitScores
from deeploc.core.ablation import Ablation
from deeploc.core.controls import random_global, random_like
from deeploc.core.stats import ALPHA, empirical_p
from deeploc.testing import Planted, planted

Scores = Callable[[Planted], np.ndarray]
"""Return what a rule ranks the units of a network by."""

Decides = Callable[[Planted, UnitMask, int], bool]
"""Return whether a rule calls the units of a mask causal, given a seed for its controls."""

SHORT = ("s+c", "sel", "caus", "opp", "mass", "rest")
"""The kinds of unit as the table calls them, in the order of `Planted.kinds`: selective and causal,
selective only, causal only, opposite, massive, neither."""


def welch_t(network: Planted) -> np.ndarray:
    return _localized(network, "signed").t


def welch_t_of_absolute(network: Planted) -> np.ndarray:
    return _localized(network, "abs").t


def mean_difference(network: Planted) -> np.ndarray:
    means = _localized(network, "signed").means
    return means["target"] - means["other"]


def absolute_mean_difference(network: Planted) -> np.ndarray:
    return np.abs(mean_difference(network))


def _localized(network: Planted, response: str) -> deeploc.StatMap:
    contrast = network.contrast.with_changes([f"read.response={response}"])
    return deeploc.localize(network.adapter, contrast, network.halves[0])


def nll(network: Planted, mask: UnitMask | None = None) -> np.ndarray:
    """Return the nll of each further target, with the units of a mask held at 0."""
    if mask is not None:
        with network.adapter.ablated(Ablation(mask)):
            return nll(network)
    (task,) = network.tasks
    targets = [request for request in task.requests if request.completion.startswith("target")]
    return -np.array([score.logprob for score in network.adapter.score(targets)])


def beyond_matched(n_controls: int) -> Decides:
    def decide(network: Planted, mask: UnitMask, seed: int) -> bool:
        controls = [random_like(mask, (seed, i)) for i in range(n_controls)]
        damages = [nll(network, control).mean() for control in controls]
        return empirical_p(nll(network, mask).mean(), damages) <= ALPHA

    return decide


def beyond_three(network: Planted, mask: UnitMask, seed: int) -> bool:
    controls = [random_global(mask, (seed, i)) for i in range(3)]
    return nll(network, mask).mean() > max(nll(network, control).mean() for control in controls)


def without_control(network: Planted, mask: UnitMask, _: int) -> bool:
    pairs = nll(network, mask), nll(network)
    return bool(reference.ttest_rel(*pairs, alternative="greater").pvalue <= ALPHA)


@dataclass(frozen=True)
class Rule:
    """How units are ranked, and when the selected ones are called causal."""

    name: str
    scores: Scores
    decides: Decides


def rules(n_controls: int) -> list[Rule]:
    matched, sets = beyond_matched(n_controls), f"{n_controls} matched"
    return [
        Rule(f"t, {sets}", welch_t, matched),
        Rule(f"t of |x|, {sets}", welch_t_of_absolute, matched),
        Rule(f"difference, {sets}", mean_difference, matched),
        Rule(f"|difference|, {sets}", absolute_mean_difference, matched),
        Rule("t, 3 random sets", welch_t, beyond_three),
        Rule("t of |x|, 3 random sets", welch_t_of_absolute, beyond_three),
        Rule("t, no control", welch_t, without_control),
        Rule("|difference|, no control", absolute_mean_difference, without_control),
    ]


CAUSAL_CASES: Mapping[str, Callable[[int], Planted]] = {
    "s+c": lambda seed: planted(seed, selective_only=0, selective_causal=20, massive_required=True),
    "sel": lambda seed: planted(seed, selective_only=20, selective_causal=0, massive_required=True),
    "null": lambda seed: planted(seed, effect=0.0, massive_required=True),
}


def selected(network: Planted, scores: np.ndarray) -> UnitMask:
    return deeploc.top_percent(UnitScores(network.adapter.sites, scores), 1)


def localizing(rule: Rule, networks: Sequence[Planted]) -> list[float]:
    """Return the mean AUROC, and the mean share of each kind in the selected units, in %."""
    rows = []
    for network in networks:
        scores = rule.scores(network)
        chosen = selected(network, scores).selected
        shares = [
            100 * (chosen & of_kind).sum() / chosen.sum() for of_kind in network.kinds.values()
        ]
        rows.append([roc_auc_score(network.selective, scores), *shares])
    return np.mean(rows, axis=0).tolist()


def calling(rule: Rule, networks: Sequence[Planted]) -> float:
    """Return in how many of the networks a rule calls what it selects causal, in %."""
    called = [
        rule.decides(network, selected(network, rule.scores(network)), seed)
        for seed, network in enumerate(networks)
    ]
    return 100 * float(np.mean(called))


def line(name: str, auroc: str, shares: Sequence[float], called: Sequence[float]) -> str:
    share_cells = "".join(f"{share:5.0f}" for share in shares)
    return f"{name:25}{auroc:>6}{share_cells}{'':3}{''.join(f'{rate:5.0f}' for rate in called)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--networks", type=int, default=40, help="networks of each sort")
    parser.add_argument("--controls", type=int, default=99, help="matched random sets")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first network")
    options = parser.parse_args()
    start = perf_counter()
    seeds = range(options.seed, options.seed + options.networks)
    mixed = [planted(seed) for seed in seeds]
    cases = {name: [make(seed) for seed in seeds] for name, make in CAUSAL_CASES.items()}
    print(f"{'':31}{'selected 1 % consists of, %':30}{'':3}called causal, %")
    heads = "".join(f"{kind:>5}" for kind in SHORT), "".join(f"{case:>5}" for case in cases)
    print(f"{'rule':25}{'AUROC':>6}{heads[0]}{'':3}{heads[1]}")
    for rule in rules(options.controls):
        auroc, *shares = localizing(rule, mixed)
        called = [calling(rule, networks) for networks in cases.values()]
        print(line(rule.name, f"{auroc:.3f}", shares, called), flush=True)
    chance = [100 * of_kind.mean() for of_kind in mixed[0].kinds.values()]
    print(line("any units", "0.500", chance, []).rstrip())
    print(f"{options.networks} networks of each sort, {perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
