"""Which effects a report shows."""

from collections.abc import Iterable, Mapping, Sequence

from deeploc.core.controls import MaskLabel
from deeploc.core.effects import Effect
from deeploc.core.outcomes import Outcome, main_outcomes
from deeploc.core.results import Better, Cell

MAX_OUTCOMES = 6
"""Most outcomes that one summary describes, and most rows of panels in one figure."""


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
