"""The figures of a run, for the page and for files."""

from collections.abc import Sequence
from dataclasses import dataclass

from deeploc.core.effects import Effect
from deeploc.report.dose_figure import dose_figure
from deeploc.report.figures import profile_figure, sites_figure, t_figure
from deeploc.report.massive_text import holding_massive
from deeploc.report.nothing_selected import without_units
from deeploc.report.outcomes import first_outcomes, main_effects
from deeploc.report.statistic_text import words_of
from deeploc.report.svg import Plot
from deeploc.runs.saved_run import SavedRun


@dataclass(frozen=True)
class Gallery:
    """The figures of a run, each kind of figure by kind of site.

    Parameters
    ----------
    sites
        The share of selected units per site.
    statistic
        The distribution of what units are ranked by.
    profile
        The responses to every condition; only of kinds with selected units.
    dose
        Outcomes against dose; only of kinds that were ablated.
    """

    sites: dict[str, Plot]
    statistic: dict[str, Plot]
    profile: dict[str, Plot]
    dose: dict[str, Plot]

    def by_name(self) -> dict[str, Plot]:
        """Return every figure by a name that is unique in the run, e.g. ``sites-block``."""
        groups = {
            "sites": self.sites,
            "statistic": self.statistic,
            "profile": self.profile,
            "dose": self.dose,
        }
        return {
            f"{group}-{kind}": plot
            for group, plots in groups.items()
            for kind, plot in plots.items()
        }


def gallery_of(run: SavedRun) -> Gallery:
    """Return the figures of a run; nothing is drawn yet.

    Parameters
    ----------
    run
        The run.
    """
    kinds = run.mask.layout.kinds
    symbol = words_of(run.manifest.get("contrast") or {}).symbol
    return Gallery(
        {kind: sites_figure(run.mask, kind) for kind in kinds},
        {kind: t_figure(run.stat_map, run.mask, kind, symbol) for kind in kinds},
        _profiles(run),
        _doses(run, main_effects(run.effects, run.folder.better())),
    )


def _profiles(run: SavedRun) -> dict[str, Plot]:
    if run.profile is None:
        return {}
    comparison, empty = run.folder.read_comparison(), without_units(run.folder)
    kinds = [kind for kind in run.profile.kinds if kind not in empty]
    return {kind: profile_figure(run.profile, kind, comparison) for kind in kinds}


def _doses(run: SavedRun, main: Sequence[Effect]) -> dict[str, Plot]:
    outcomes = first_outcomes(main)
    holding = holding_massive(run.massive, run.controls, run.mask.layout)
    kinds = dict.fromkeys(effect.sites for effect in main)
    return {kind: dose_figure(main, kind, outcomes, holding) for kind in kinds}
