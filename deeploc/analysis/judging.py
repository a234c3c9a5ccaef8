"""From what a run measured to its verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from deeploc.analysis.deciding import deciding_of, massive_units, place_of
from deeploc.analysis.planning import DecidingDose, deciding_doses
from deeploc.contrast.model import Contrast
from deeploc.core.damage import Damage, damage_at
from deeploc.core.judging import outcome_name, verdict
from deeploc.core.massive import MassiveActivations, massive_selection
from deeploc.core.modes import manner
from deeploc.core.outcomes import Deciding, Outcome
from deeploc.core.resampling import Reliability
from deeploc.core.responses import Profile
from deeploc.core.results import Better, Score
from deeploc.core.stats import ALPHA
from deeploc.core.units import StatMap, UnitMask
from deeploc.core.untrained import Untrained
from deeploc.core.verdict import Evidence, MassiveUnits, Network, Verdict


def judge(
    contrast: Contrast,
    stat_map: StatMap,
    mask: UnitMask,
    *,
    profile: Profile | None,
    reliability: Reliability | None,
    massive: MassiveActivations | None = None,
    scores: Sequence[Score],
    better: Mapping[str, Mapping[str, Better]],
    chance: Mapping[str, Mapping[str, float]] | None = None,
    seed: int = 0,
    untrained: Untrained | None = None,
) -> Verdict:
    """Return the verdict on the units of every kind of site.

    Where no unit is ablated there is nothing to ask: that network has no replies.

    Parameters
    ----------
    contrast
        What is compared; its ``verdict`` names the outcomes and the dose that decide.
    stat_map
        The statistics of the units.
    mask
        The selected units.
    profile
        Their response profile; None where there is none.
    reliability
        What resampling the stimuli says; None where it was not done.
    massive
        The massive activations of the model; None where they are not known.
    scores
        What was measured, intact, ablated and under controls.
    better
        Task -> metric -> which direction is good, the main metric of each task first.
    chance
        Task -> metric, or METRIC/CONDITION -> what guessing scores; 0 for all that are not named.
    seed
        Of the random controls.
    untrained
        What is selected in an untrained copy of the model; None where it was not asked.
    """
    known = [row for row in scores if row.metric in better.get(row.task, {})]
    deciding = deciding_of(contrast, known, better)
    doses = deciding_doses(
        stat_map,
        mask,
        contrast.ablate,
        contrast.verdict.dose,
        seed,
        massive=massive_selection(massive, stat_map.layout),
    )
    gathering = _Gathering(
        contrast,
        stat_map,
        mask,
        profile,
        reliability,
        untrained or Untrained(),
        massive,
        known,
        better,
        chance or {},
    )
    evidence = [gathering.evidence(dose, deciding) for dose in doses]
    made = verdict(evidence, deciding, contrast.verdict.controls, ALPHA)
    return replace(made, networks=(*made.networks, *_without_units(mask, doses)))


def _without_units(mask: UnitMask, doses: Sequence[DecidingDose]) -> list[Network]:
    """Return the networks at kinds of site where no unit is ablated."""
    ablated = {dose.cell.sites for dose in doses}
    kinds = [kind for kind in mask.layout.kinds if kind not in ablated]
    return [Network(kind, int(mask.layout.of_kind(kind).sum()), 0, 0.0, ()) for kind in kinds]


@dataclass(frozen=True)
class _Gathering:
    """What a run measured."""

    contrast: Contrast
    stat_map: StatMap
    mask: UnitMask
    profile: Profile | None
    reliability: Reliability | None
    untrained: Untrained
    massive: MassiveActivations | None
    scores: Sequence[Score]
    better: Mapping[str, Mapping[str, Better]]
    chance: Mapping[str, Mapping[str, float]]

    def evidence(self, dose: DecidingDose, deciding: Deciding | None) -> Evidence:
        """Return what is known about the units of one kind of site."""
        kind = dose.cell.sites
        among = self.stat_map.layout.of_kind(kind)
        with np.errstate(invalid="ignore"):
            significant = among & (self.stat_map.t > 0) & (self.stat_map.q <= ALPHA)
        profile = self.profile if self.profile is not None and self.profile.held_out else None
        against = deciding.against if deciding else ()
        others = {outcome_name(outcome): self._damage(dose, outcome) for outcome in against}
        primary = self._damage(dose, deciding.primary) if deciding else None
        return Evidence(
            kind,
            n_units=int(among.sum()),
            n_selected=len(self.mask.of_kind(kind)),
            n_ablated=dose.n_units,
            percent=dose.cell.percent,
            n_significant=int(significant.sum()),
            selected=profile.preference(kind, "selected") if profile else None,
            random=profile.preference(kind, "random") if profile else None,
            reliability=self.reliability.of(kind) if self.reliability else None,
            primary=primary,
            others={name: damage for name, damage in others.items() if damage is not None},
            modes=self._modes(dose, deciding),
            massive=self._massive(dose, deciding, primary),
            untrained=self.untrained.of(kind),
            no_untrained=self.untrained.missing,
            by=self.contrast.select.by,
        )

    def _massive(
        self, dose: DecidingDose, deciding: Deciding | None, primary: Damage | None
    ) -> MassiveUnits | None:
        if self.massive is None or self.massive.missing:
            return None
        if deciding is None or primary is None:
            return MassiveUnits(dose.n_massive(dose.cell))
        return massive_units(self.scores, dose, deciding.primary, primary)

    def _modes(self, dose: DecidingDose, deciding: Deciding | None) -> dict[str, Damage]:
        if deciding is None:
            return {}
        modes = (mode for mode in self.contrast.ablate.mode if mode != dose.mode)
        further = [mode for mode in modes if manner(mode) == "ablation"]
        damage = {mode: self._damage(dose, deciding.primary, mode) for mode in further}
        return {mode: one for mode, one in damage.items() if one is not None}

    def _damage(
        self, dose: DecidingDose, outcome: Outcome, mode: str | None = None
    ) -> Damage | None:
        sites, first, percent, mask = place_of(dose.cell)
        direction = self.better[outcome[0]][outcome[1]]
        place = (sites, mode or first, percent, mask)
        damage = damage_at(self.scores, place, outcome, direction)
        task, metric, condition = outcome
        known = self.chance.get(task, {})
        guessing = known.get(f"{metric}/{condition}", known.get(metric, 0.0))
        return damage and replace(damage, chance=guessing)
