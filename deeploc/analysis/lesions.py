"""The lesion matrix of two contrasts in one model: the mask of each on the tasks of both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deeploc.analysis.planning import DecidingDose
from deeploc.contrast.model import Contrast
from deeploc.core.bootstrap import Interval
from deeploc.core.damage import Damage
from deeploc.core.dissociation import DoubleDissociation, dissociation, double_dissociations
from deeploc.core.outcomes import Outcome
from deeploc.core.results import Better, Cell
from deeploc.core.task import Task


@dataclass(frozen=True)
class Side:
    """One of the two contrasts: what it ablates and what it measures.

    Parameters
    ----------
    name
        What tables call it; the other side has another name.
    contrast
        Its ``verdict`` names the primary outcome.
    tasks
        Its tasks.
    task_keys
        Task -> hash of what decides its numbers. Tasks of equal keys are measured once.
    doses
        Kind of site -> the ablation that decides its verdict.
    seed
        Of the bootstrap resamples.
    """

    name: str
    contrast: Contrast
    tasks: Sequence[Task]
    task_keys: Mapping[str, str]
    doses: Mapping[str, DecidingDose]
    seed: int = 0


@dataclass(frozen=True)
class Column:
    """An outcome, and whose task measures it: tasks of one name may have other items.

    Parameters
    ----------
    of
        The name of the side; of the first where the task is the same on both.
    task_key
        The key of the task.
    outcome
        Task, metric and condition.
    better
        Whether higher or lower values are better.
    intact
        The value of the intact model.
    """

    of: str
    task_key: str
    outcome: Outcome
    better: Better
    intact: float


@dataclass(frozen=True)
class Ablated:
    """What ablating one mask did to every outcome.

    Parameters
    ----------
    of
        The name of the side whose mask it is.
    cell
        The ablation by name.
    n_units
        How many units are ablated.
    damages
        The damage on each outcome, beside that of matched random sets.
    changes
        The change of each outcome against the intact model, with its 95 % interval over items.
    """

    of: str
    cell: Cell
    n_units: int
    damages: Mapping[Column, Damage]
    changes: Mapping[Column, Interval]


@dataclass(frozen=True)
class LesionMatrix:
    """Every mask on every task.

    Parameters
    ----------
    columns
        The main outcomes of both sides, and their primary ones.
    primaries
        The primary outcome of each side; None where it was not measured.
    rows
        Kind of site -> the mask of the first side and of the second.
    shared
        Kind of site -> how many units are in both masks.
    """

    columns: tuple[Column, ...]
    primaries: tuple[Column | None, Column | None]
    rows: Mapping[str, tuple[Ablated, Ablated]]
    shared: Mapping[str, int]

    def dissociations(self) -> dict[str, DoubleDissociation]:
        """Return the double dissociation at every kind of site; see `deeploc.core.dissociation`.

        There is none to test where both sides have the same primary outcome, or one has none.
        """
        first, second = self.primaries
        if first is None or second is None or first == second:
            return double_dissociations({kind: (None, None) for kind in self.rows})
        return double_dissociations(
            {
                kind: (
                    dissociation(a.damages[first], a.damages[second]),
                    dissociation(b.damages[second], b.damages[first]),
                )
                for kind, (a, b) in self.rows.items()
            }
        )


def common_kinds(sides: tuple[Side, Side]) -> list[str]:
    """Return the kinds of site at which both sides ablate units."""
    return [kind for kind in sides[0].doses if kind in sides[1].doses]
