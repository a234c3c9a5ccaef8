"""Planted truth: networks in which it is known which units are selective and which are causal."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from deeploc import entry_points
from deeploc.contrast.model import Contrast
from deeploc.core.readout import Readout
from deeploc.core.task import Task, TaskContext
from deeploc.core.units import Layout, Selection, Site, Vector
from deeploc.stimuli import Stimulus, load, split_half
from deeploc.testing.planted_network import TARGET, Network, PlantedAdapter

Stimuli = Mapping[str, Sequence[Stimulus]]

OTHER = "other"
"""The condition, and the outcome, of texts that are no targets."""

_N_SITES = 2

_N_FACTORS = 5
"""How many sources of noise units share."""

_PLANTED_SHARE = 0.8
"""How much of an outcome rests on the units that are planted for it; the rest on all units."""

_MASSIVE = 3000.0
"""The activation of massive units, in standard deviations of the median unit. Massive activations
are about 1,000 times the median or more and nearly constant (Sun et al. 2024, arXiv 2402.17762)."""

_MASSIVE_SD = 0.01
"""The standard deviation of massive units, as a share of their mean."""


@dataclass(frozen=True)
class Planted:
    """A network with planted units, and what is needed to localize and evaluate.

    Parameters
    ----------
    adapter
        The network.
    contrast
        ``target > other``, signed, top 1 % by t; the task is ``perplexity`` of further targets
        and of further other texts, so its outcomes are ``target`` and ``other``.
    kinds
        Kind -> its units, boolean ``(unit,)``. Each unit is of one kind: one of the parameters of
        `planted`, or ``neither``.
    seed
        Of the split into halves.
    """

    adapter: PlantedAdapter
    contrast: Contrast
    kinds: Mapping[str, Selection]
    seed: int

    @property
    def selective(self) -> Selection:
        """The units that prefer targets; none if the effect is 0 or the contrast one of nothing."""
        compares = set(self.contrast.conditions) == {TARGET, OTHER}
        selective: Selection = (self.adapter.network.preference > 0) & compares
        return selective

    @cached_property
    def halves(self) -> tuple[Stimuli, Stimuli]:
        """Condition -> its stimuli: those that localize, and those that are held out."""
        return split_half(load(self.contrast, seed=self.seed), self.seed, self.contrast.paired)

    @cached_property
    def tasks(self) -> list[Task]:
        """The tasks of the contrast."""
        localizing, held_out = self.halves
        positive, read = self.contrast.comparison.positive, Readout.of(self.contrast.read)
        context = TaskContext(
            held_out, positive, self.contrast.base, self.seed, localizing=localizing, read=read
        )
        make = {name: entry_points.load("deeploc.tasks", name) for name, _ in self.contrast.tasks}
        return [make[name](options, context) for name, options in self.contrast.tasks]

    def with_null_contrast(self) -> "Planted":
        """Return the same network with a contrast of nothing: both conditions are targets.

        Its conditions, ``target`` and ``same``, are halves of twice as many targets, which differ
        by chance only; the items of the task are the same.
        """
        n = len(self.contrast.conditions[TARGET].texts or ())
        conditions = {TARGET: _texts(TARGET, 0, n), "same": _texts(TARGET, n, 2 * n)}
        return replace(self, contrast=_contrast(conditions, n))


def planted(
    seed: int = 0,
    effect: float = 1.0,
    *,
    selective_causal: int = 10,
    selective_only: int = 10,
    causal_only: int = 20,
    opposite: int = 10,
    massive: int = 2,
    massive_required: bool = False,
    n_units: int = 1000,
    n_stimuli: int = 100,
) -> Planted:
    """Return a network in which chosen units are selective, causal, both or neither.

    It has two sites. Units have log-normal scales, means of either sign, and 30 % of their noise
    in common with others. Of the outcome ``target`` 80 % rests on the units that are selective
    and causal, of the outcome ``other`` on those that are causal only; the other 20 % (all, where
    none are planted) rests unevenly on all units that are not massive. So any ablation does some
    damage, as it does in a trained network, and units of the other kinds do as much as random
    ones.

    Parameters
    ----------
    seed
        Of the network, of its noise, and of the split into halves.
    effect
        Cohen's d of the selective units in the population: the difference between the means for
        targets and for other texts, in standard deviations within a condition. At the default of
        1, t of 50 targets against 50 other texts is about 5. 0: nothing is selective, and what is
        causal is so all the same.
    selective_causal
        Units that prefer targets, and that the outcome ``target`` rests on.
    selective_only
        Units that prefer targets, and that no outcome rests on more than on any unit.
    causal_only
        Units that prefer nothing, and that the outcome ``other`` rests on.
    opposite
        Units that prefer the other texts, with the same effect, and that are not causal.
    massive
        Units with 3,000 times the typical activation and a standard deviation of 1 % of that;
        they prefer nothing.
    massive_required
        Whether nothing passes through the network when a massive unit is held at 0. At its mean
        it does no harm in either case, as in Sun et al. (2024), arXiv 2402.17762, table 3.
    n_units
        Units of each site.
    n_stimuli
        Texts of each condition, half of which localize, and of each outcome.

    Raises
    ------
    ValueError
        If the effect is negative or not finite, a number is negative, there are fewer than four
        stimuli, or more units are planted than there are.

    Examples
    --------
    >>> from deeploc import localize, select_units
    >>> network = planted(seed=1)
    >>> stat_map = localize(network.adapter, network.contrast, seed=1)
    >>> selected = select_units(stat_map, network.contrast.select).selected
    >>> int(selected.sum()), int((selected & network.selective).sum())
    (20, 18)
    """
    counts = {
        "selective_causal": selective_causal,
        "selective_only": selective_only,
        "causal_only": causal_only,
        "opposite": opposite,
        "massive": massive,
    }
    _check(counts, effect, n_units, n_stimuli)
    rng = np.random.default_rng(seed)
    layout = Layout(tuple(Site(f"layers.{i}", "block", n_units) for i in range(_N_SITES)))
    kinds = _kinds(counts, layout.n_units, rng)
    required = kinds["massive"] & massive_required
    network = _network(layout, kinds, effect, required=required, seed=seed, rng=rng)
    conditions = {name: _texts(name, 0, n_stimuli) for name in (TARGET, OTHER)}
    return Planted(PlantedAdapter(network), _contrast(conditions, n_stimuli), kinds, seed)


def _check(counts: Mapping[str, int], effect: float, n_units: int, n_stimuli: int) -> None:
    if not 0 <= effect < math.inf:
        raise ValueError(f"effect is {effect:g}; Cohen's d of the selective units is 0 or more")
    for name, count in counts.items():
        if count < 0:
            raise ValueError(f"{name} is {count}; a number of units is 0 or more")
    if n_stimuli < 4:
        raise ValueError(f"n_stimuli is {n_stimuli}; each half of a condition needs at least two")
    if sum(counts.values()) >= _N_SITES * n_units:
        raise ValueError(
            f"{sum(counts.values()):,} units are planted, but {_N_SITES} sites of {n_units:,} "
            "units have to hold them and others; raise n_units"
        )


def _kinds(
    counts: Mapping[str, int], n_units: int, rng: np.random.Generator
) -> dict[str, Selection]:
    """Return the units of every kind, anywhere in the network."""
    labels = np.repeat([*counts, "neither"], [*counts.values(), n_units - sum(counts.values())])
    shuffled = rng.permutation(labels)
    return {kind: shuffled == kind for kind in (*counts, "neither")}


def _network(
    layout: Layout,
    kinds: Mapping[str, Selection],
    effect: float,
    *,
    required: Selection,
    seed: int,
    rng: np.random.Generator,
) -> Network:
    n, massive = layout.n_units, kinds["massive"]
    scale = rng.lognormal(sigma=1.0, size=n)
    mean = rng.standard_normal(n)
    scale[massive] = _MASSIVE * _MASSIVE_SD
    mean[massive] = np.where(mean[massive] < 0, -1.0, 1.0) / _MASSIVE_SD
    selective = kinds["selective_causal"] | kinds["selective_only"]
    loadings = rng.standard_normal((n, _N_FACTORS))
    background = rng.exponential(size=n) * ~massive
    causal = (kinds["selective_causal"], kinds["causal_only"])
    return Network(
        layout,
        seed,
        scale,
        mean,
        effect * (selective - 1.0 * kinds["opposite"]),
        loadings / np.linalg.norm(loadings, axis=1, keepdims=True),
        np.stack([_weights(units, background) for units in causal]),
        required,
    )


def _weights(causal: Selection, background: Vector) -> Vector:
    """Return how much of an outcome rests on each unit; the sum is 1."""
    everywhere: Vector = background / background.sum()
    if not causal.any():
        return everywhere
    planted_units: Vector = causal / causal.sum()
    return _PLANTED_SHARE * planted_units + (1 - _PLANTED_SHARE) * everywhere


def _texts(name: str, start: int, stop: int) -> list[str]:
    return [f"{name} {number}" for number in range(start, stop)]


def _contrast(conditions: Mapping[str, Sequence[str]], n: int) -> Contrast:
    """Return the contrast of two conditions; the items of its task are none of their texts."""
    outcomes = {name: {"texts": _texts(name, 2 * n, 3 * n)} for name in (TARGET, OTHER)}
    first, second = conditions
    return Contrast.model_validate(
        {
            "name": "planted",
            "title": f"{first} > {second} in a network with planted units",
            "modality": "text",
            "source": "made up: deeploc.testing.planted",
            "conditions": {name: {"texts": texts} for name, texts in conditions.items()},
            "contrast": f"{first} > {second}",
            "select": {"percent": 1},
            "ablate": {"controls": {"random": 20}},
            "evaluate": [{"perplexity": outcomes}],
        }
    )
