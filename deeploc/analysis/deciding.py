"""Measure the ablation that decides the verdict, and as many random controls as that takes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from deeploc.analysis.evaluation import Evaluator
from deeploc.analysis.planning import DecidingDose
from deeploc.contrast.model import Contrast
from deeploc.contrast.verdict import parts_of
from deeploc.core.ablation import Edit
from deeploc.core.damage import Damage, Place, damage_at, value_at
from deeploc.core.multiplicity import SequentialTest
from deeploc.core.outcomes import Deciding, Outcome, deciding_outcomes
from deeploc.core.results import Better, Cell, Score
from deeploc.core.verdict import HITS, MassiveUnits


def deciding_of(
    contrast: Contrast, scores: Sequence[Score], better: Mapping[str, Mapping[str, Better]]
) -> Deciding | None:
    """Return the outcomes that decide, as the contrast's ``verdict`` names them.

    Parameters
    ----------
    contrast
        What is compared.
    scores
        Rows of a run, at least those of the intact model.
    better
        Task -> metric -> which direction is good, the main metric of each task first.
    """
    rule, tasks = contrast.verdict, contrast.tasks
    if not tasks:
        return None
    return deciding_outcomes(
        parts_of(rule.primary) if rule.primary else (tasks[0][0],),
        None if rule.against is None else [parts_of(text) for text in rule.against],
        [(row.task, row.metric, row.condition) for row in scores],
        better,
        preferred=contrast.comparison.positive,
    )


def place_of(cell: Cell) -> Place:
    """Return where an ablation is, as `deeploc.core.damage.damage_at` takes it.

    Parameters
    ----------
    cell
        The ablation by name; no control.
    """
    return cell.sites, cell.mode, cell.percent, cell.mask


OnAblation = Callable[[list[Score], Edit], None]
"""Called with the scores of an ablation as soon as they are measured, and the ablation."""


def draw_controls(
    evaluator: Evaluator,
    dose: DecidingDose,
    deciding: Deciding,
    better: Mapping[str, Mapping[str, Better]],
    *,
    most: int,
    on_scores: OnAblation,
) -> None:
    """Measure the deciding ablation and random controls of it until the test is decided.

    Parameters
    ----------
    evaluator
        Measures; it knows what was measured before.
    dose
        The ablation at one kind of site.
    deciding
        The outcomes that decide.
    better
        Task -> metric -> which direction is good.
    most
        At most so many controls are measured.
    on_scores
        Called with the scores of each ablation, and the ablation.
    """
    outcome = deciding.primary
    direction = better[outcome[0]][outcome[1]]
    test = SequentialTest(HITS, most)
    rows = evaluator.scores(Cell(), None, deciding.tasks)

    def measure(cell: Cell) -> None:
        ablation = dose.ablation(cell)
        new = evaluator.scores(cell, ablation, deciding.tasks)
        rows.extend(new)
        on_scores(new, ablation)

    measure(dose.cell)
    if dose.without_massive:
        measure(dose.without_massive)
    for index in range(most):
        damage = damage_at(rows, place_of(dose.cell), outcome, direction)
        if damage is None or _is_decided(test, damage, massive_units(rows, dose, outcome, damage)):
            return
        measure(dose.control(index))


def _is_decided(test: SequentialTest, damage: Damage, massive: MassiveUnits) -> bool:
    """Return whether no further set is needed, neither of all nor of those without massive units.

    Random sets that hold a massive unit may end the test of all. What remains of the damage without
    massive units is then still to be compared with sets that hold none.
    """
    if damage.observed <= 0 or not damage.above_guessing or not damage.is_measured:
        return True
    if not test.is_decided(damage.observed, damage.null):
        return False
    without = massive.without
    if without is None or without.observed <= 0:
        return True
    return test.is_decided(without.observed, without.null)


def massive_units(
    scores: Sequence[Score], dose: DecidingDose, outcome: Outcome, damage: Damage
) -> MassiveUnits:
    """Return what massive units have to do with the damage of an ablation.

    Parameters
    ----------
    scores
        Rows of one run.
    dose
        The ablation.
    outcome
        The primary one.
    damage
        That of the ablation on it.
    """
    n = dose.n_massive(dose.cell)
    holding = frozenset(name for name in damage.controls if dose.n_massive(dose.named(name)))
    others = {name: value for name, value in damage.controls.items() if name not in holding}
    if not n and holding:
        return MassiveUnits(n, holding, replace(damage, controls=others))
    left = dose.without_massive
    remaining = None if left is None else value_at(scores, left, outcome)
    if remaining is None:
        return MassiveUnits(n, holding)
    return MassiveUnits(n, holding, replace(damage, ablated=remaining, controls=others))
