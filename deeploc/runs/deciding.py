"""The stage that answers whether a network was found."""

import json
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from deeploc.analysis.deciding import deciding_of, place_of
from deeploc.analysis.planning import DecidingDose, deciding_doses
from deeploc.contrast.model import Contrast
from deeploc.core.damage import Damage, damage_at
from deeploc.core.judging import outcome_name, verdict
from deeploc.core.outcomes import Deciding, Outcome
from deeploc.core.stats import ALPHA
from deeploc.core.verdict import Evidence, Verdict
from deeploc.runs.folder import RunFolder
from deeploc.runs.saving import Pipeline, Save
from deeploc.runs.stages import remove


class VerdictStage:
    """Answers the questions of `deeploc.core.verdict` from what the run folder holds."""

    name: ClassVar[str] = "verdict"
    files: ClassVar[tuple[str, ...]] = ("verdict.json",)
    needs: ClassVar[tuple[str, ...]] = ("localize", "select", "profile", "evaluate")
    algorithm: ClassVar[int] = 1
    protected: ClassVar[bool] = False

    def inputs(self, run: Pipeline) -> Mapping[str, Any]:
        """Return the parts of the contrast that say which outcomes and which ablation decide."""
        resolved = _contrast(run.folder).to_json()
        return {key: resolved[key] for key in ("contrast", "ablate", "evaluate", "verdict")}

    def make(self, run: Pipeline, save: Save) -> None:
        """Apply the rules."""
        made = _Gathered(run.folder).verdict()
        text = json.dumps(made.to_json(), indent=2, ensure_ascii=False, allow_nan=False)
        save({"verdict.json": f"{text}\n"}, {})

    @staticmethod
    def retire(folder: RunFolder) -> None:
        """Remove it."""
        remove(folder, VerdictStage.files)


def _contrast(folder: RunFolder) -> Contrast:
    return folder.read_manifest().resolved_contrast(str(folder.manifest))


class _Gathered:
    """What a run folder holds for the verdict."""

    def __init__(self, folder: RunFolder) -> None:
        self.contrast = _contrast(folder)
        self.stat_map, self.mask = folder.read_stat_map(), folder.read_mask()
        self.profile = folder.read_profile()
        self.better = folder.better()
        self.scores = [
            row for row in folder.read_scores() if row.metric in self.better.get(row.task, {})
        ]
        self.deciding = deciding_of(self.contrast, self.scores, self.better)

    def verdict(self) -> Verdict:
        """Return the answers about every kind of site."""
        contrast = self.contrast
        doses = deciding_doses(
            self.stat_map, self.mask, contrast.ablate, contrast.verdict.dose, seed=0
        )
        evidence = [self._evidence(dose) for dose in doses]
        return verdict(evidence, self.deciding, contrast.verdict.controls, ALPHA)

    def _evidence(self, dose: DecidingDose) -> Evidence:
        kind, deciding = dose.cell.sites, self.deciding
        among = self.mask.layout.of_kind(kind)
        with np.errstate(invalid="ignore"):
            significant = among & (self.stat_map.t > 0) & (self.stat_map.q <= ALPHA)
        profile = self.profile if self.profile is not None and self.profile.held_out else None
        against = deciding.against if deciding else ()
        others = {outcome_name(outcome): self._damage(dose, outcome) for outcome in against}
        return Evidence(
            kind,
            n_units=int(among.sum()),
            n_ablated=dose.n_units,
            percent=dose.cell.percent,
            n_significant=int(significant.sum()),
            selected=profile.preference(kind, "selected") if profile else None,
            random=profile.preference(kind, "random") if profile else None,
            primary=self._damage(dose, deciding.primary) if deciding else None,
            others={name: damage for name, damage in others.items() if damage is not None},
            modes=self._modes(dose, deciding),
        )

    def _modes(self, dose: DecidingDose, deciding: Deciding | None) -> dict[str, Damage]:
        if deciding is None:
            return {}
        further = [mode for mode in self.contrast.ablate.mode if mode != dose.mode]
        damage = {mode: self._damage(dose, deciding.primary, mode) for mode in further}
        return {mode: one for mode, one in damage.items() if one is not None}

    def _damage(
        self, dose: DecidingDose, outcome: Outcome, mode: str | None = None
    ) -> Damage | None:
        sites, first, percent, mask = place_of(dose.cell)
        direction = self.better[outcome[0]][outcome[1]]
        return damage_at(self.scores, (sites, mode or first, percent, mask), outcome, direction)
