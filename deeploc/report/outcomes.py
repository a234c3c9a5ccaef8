"""Which effects a report shows, pooled over conditions where these are many."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from deeploc.core.controls import MaskLabel
from deeploc.core.effects import Effect
from deeploc.core.outcomes import Outcome, main_outcomes
from deeploc.core.results import Better, Cell

MAX_OUTCOMES = 6
"""Most outcomes that one summary describes, and most rows of panels in one figure."""

MAX_CONDITIONS = 3
"""Most conditions of a task that are listed one by one in a short table."""


def outcome_of(effect: Effect) -> Outcome:
    """Return the outcome that an effect is on."""
    return (effect.task, effect.metric, effect.condition)


def cell_of(effect: Effect) -> Cell:
    """Return the ablation that had an effect: kind of site, mode, dose and mask."""
    return Cell(effect.sites, effect.mode, effect.percent, effect.mask)


def masks_differ(effects: Iterable[Effect]) -> bool:
    """Return whether both the contrast's own selection and doses of top units were ablated."""
    return len({effect.mask for effect in effects}) > 1


def unmatched_controls(effect: Effect) -> dict[str, list[float]]:
    """Return the values under the unmatched controls by name, numbered ones by their kind."""
    kinds: dict[str, list[float]] = {}
    for name, value in effect.others:
        label = MaskLabel.parse(name)
        kinds.setdefault(name if label.index is None else label.kind, []).append(value)
    return kinds


def main_effects(
    effects: Sequence[Effect], better: Mapping[str, Mapping[str, Better]]
) -> list[Effect]:
    """Return the effects on the first metric of each task, on whole conditions only.

    Parameters
    ----------
    effects
        Every effect of a run. A condition ``CONDITION/PART`` is a part of one that was measured as
        a whole, and is left out.
    better
        Task -> metric -> which direction is good, the main metric of each task first.
    """
    main = set(main_outcomes(map(outcome_of, effects), better))
    return [effect for effect in effects if outcome_of(effect) in main]


def pool_conditions(effects: Sequence[Effect], preferred: Collection[str]) -> list[Effect]:
    """Return effects with the conditions that are not ``preferred`` pooled where they are many.

    Where a metric has more than `MAX_CONDITIONS` conditions and some of them are preferred, the
    others become one effect on the condition ``5 others``: the mean over them of every value, of
    each control separately, so that p compares means with means.

    Parameters
    ----------
    effects
        Effects of one run.
    preferred
        The conditions on the preferred side of the contrast.
    """
    groups: dict[tuple[str, str, Cell], list[Effect]] = {}
    for effect in effects:
        groups.setdefault((effect.task, effect.metric, cell_of(effect)), []).append(effect)
    pooled = []
    for group in groups.values():
        first = [effect for effect in group if effect.condition in preferred]
        others = [effect for effect in group if effect.condition not in preferred]
        alike = len({(len(e.controls), *(name for name, _ in e.others)) for e in others}) == 1
        if len(group) > MAX_CONDITIONS and first and len(others) > 1 and alike:
            group = [*first, _mean_effect(others)]
        pooled += group
    return pooled


def _mean_effect(effects: Sequence[Effect]) -> Effect:
    """Return the effect on the mean over conditions, each control averaged separately."""
    unmatched = zip(*(effect.others for effect in effects), strict=True)
    return replace(
        effects[0],
        condition=f"{len(effects)} others",
        intact=_mean([effect.intact for effect in effects]),
        ablated=_mean([effect.ablated for effect in effects]),
        controls=tuple(map(_mean, zip(*(effect.controls for effect in effects), strict=True))),
        others=tuple((same[0][0], _mean([value for _, value in same])) for same in unmatched),
    )


def _mean(values: Sequence[float]) -> float:
    """Return the mean to 12 digits: equal means are then ties, however their parts rounded."""
    return float(f"{sum(values) / len(values):.12g}")


def at_one_dose(effects: Sequence[Effect], percent: float | None) -> list[Effect]:
    """Return the effects at one dose per kind of site, by a rule that ignores the outcomes.

    The dose is the contrast's own selection where that was ablated; else ``percent`` of the units
    from the top of the ranking, if that was ablated; else the largest.

    Parameters
    ----------
    effects
        Effects of one run.
    percent
        The percentage of units (0-100) that the contrast selects; None where it selects otherwise.
    """
    chosen = []
    for kind in dict.fromkeys(effect.sites for effect in effects):
        of_kind = [effect for effect in effects if effect.sites == kind]
        own = [effect for effect in of_kind if effect.mask == "selected"]
        doses = {effect.percent for effect in own or of_kind}
        dose = percent if percent in doses else max(doses)
        chosen += [effect for effect in own or of_kind if effect.percent == dose]
    return chosen


def first_outcomes(effects: Iterable[Effect]) -> list[Outcome]:
    """Return at most `MAX_OUTCOMES` outcomes: the first of every task before any second one."""
    outcomes = list(dict.fromkeys(outcome_of(effect) for effect in effects))
    rank = {o: [other for other in outcomes if other[0] == o[0]].index(o) for o in outcomes}
    kept = sorted(outcomes, key=lambda outcome: rank[outcome])[:MAX_OUTCOMES]
    return [outcome for outcome in outcomes if outcome in kept]
