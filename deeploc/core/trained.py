"""The rule of ``trained``, the question whether an untrained copy has such units too."""

from dataclasses import asdict
from math import isnan
from typing import Any

from deeploc.core.resampling import Halves
from deeploc.core.responses import Preference
from deeploc.core.stats import ALPHA
from deeploc.core.untrained import KindUntrained
from deeploc.core.verdict import Answer, Evidence, Reply


def trained(evidence: Evidence, *, is_selective: bool) -> Reply:
    """Describe whether an untrained copy of the model has such units too.

    Where stimuli were held out, the preference of the units that are selected in the copy is
    compared with that of the model's own; elsewhere the share of units on which two halves agree.
    A copy in which nothing is selected has no such units.

    Parameters
    ----------
    evidence
        What is known about the units at one kind of site.
    is_selective
        Whether their own preference is confirmed; elsewhere this is not asked.
    """
    copy = evidence.untrained
    if not is_selective or copy is None:
        reason = evidence.no_untrained if is_selective else None
        return Reply("trained", "not asked", numbers={"reason": reason} if reason else {})
    if copy.n_selected == 0:
        answer: Answer = "yes"
    elif evidence.selected is not None:
        answer = _beside_preference(evidence.selected, copy.preference)
    else:
        own = evidence.reliability.halves if evidence.reliability else None
        answer = _beside_halves(own, copy.halves, evidence.n_units)
    return Reply("trained", answer, numbers=numbers_of(copy))


def numbers_of(copy: KindUntrained) -> dict[str, Any]:
    """Return what the answer says of the copy: its units, their d, its interval and p, the halves.

    Parameters
    ----------
    copy
        What is selected in an untrained copy at one kind of site.
    """
    numbers: dict[str, Any] = {"selected_units": copy.n_selected}
    if copy.preference:
        d, p = copy.preference.d, copy.preference.p_one_sided
        numbers |= {"d": d, "d_interval": list(copy.preference.d_interval), "p": p}
    return numbers | ({"halves": asdict(copy.halves)} if copy.halves else {})


def _beside_preference(own: Preference, untrained: Preference | None) -> Answer:
    """Return whether units prefer the positive side because the model was trained.

    No, if theirs is no larger than the upper end of the 95 % interval of Cohen's d that the units
    of an untrained copy have: a small sample does not make it a yes. Beyond that, partly, if these
    prefer the positive side as well (one-sided, p <= 0.05).
    """
    if untrained is None or isnan(untrained.p):
        return "not asked"
    if own.d <= untrained.d_interval[1]:
        return "no"
    return "partly" if untrained.p_one_sided <= ALPHA else "yes"


def _beside_halves(own: Halves | None, untrained: Halves | None, n_units: int) -> Answer:
    """Return whether halves agree because the model was trained.

    No, if those of an untrained copy agree as much; beyond that, partly, if these agree more than
    chance does.
    """
    if not own or not untrained or isnan(own.overlap) or isnan(untrained.overlap):
        return "not asked"
    if own.overlap <= untrained.overlap:
        return "no"
    return "partly" if untrained.more_than_chance(n_units) else "yes"
