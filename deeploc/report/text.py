"""Effects and profiles in words: which are told first, and what each sentence says."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from math import inf, isnan

from deeploc.core.effects import Effect
from deeploc.core.responses import Preference, Profile
from deeploc.core.results import Better

MAX_TOLD = 6
"""Most outcomes that one summary spells out, and most rows of panels in one figure."""

MAX_CONDITIONS = 3
"""Most conditions of a task that a short verdict tells one by one."""

Row = tuple[str, str, str]
"""Task, metric and condition: one thing that was measured."""


def number(value: float) -> str:
    """Return a number for reading: three significant digits, and ∞ for infinity.

    Examples
    --------
    >>> [number(x) for x in (17.7432, 0.5, 999.6, 26341, 1.5e-7, 0, float("inf"))]
    ['17.7', '0.500', '1,000', '26,300', '1.50e-07', '0', '∞']
    """
    if isnan(value):
        return "not a number"
    if abs(value) == inf:
        text = "∞"
    elif value and not 1e-4 <= abs(value) < 1e7:
        text = f"{abs(value):.2e}"
    elif abs(value) >= 999.5:
        text = f"{float(f'{abs(value):.3g}'):,.0f}"
    else:
        text = f"{abs(value):#.3g}".rstrip(".") if value else "0"
    return f"\N{MINUS SIGN}{text}" if value < 0 else text


def label(task: str, metric: str, condition: str) -> str:
    """Return the words for one measured thing.

    Examples
    --------
    >>> label("minimal-pairs", "accuracy", "grammar"), label("perplexity", "perplexity", "")
    ('minimal-pairs accuracy (grammar)', 'perplexity')
    """
    name = metric if metric == task else f"{task} {metric}"
    return f"{name} ({condition})" if condition and condition != task else name


def row_of(effect: Effect) -> Row:
    """Return which measured thing an effect is about."""
    return (effect.task, effect.metric, effect.condition)


def further_controls(effect: Effect) -> dict[str, list[float]]:
    """Return the values of the unmatched controls by sort: all ``random-global-N`` are one."""
    sorts: dict[str, list[float]] = {}
    for name, value in effect.others:
        sorts.setdefault(re.sub(r"^(random-global)-\d+$", r"\1", name), []).append(value)
    return sorts


def main_effects(
    found: Sequence[Effect], better: Mapping[str, Mapping[str, Better]]
) -> list[Effect]:
    """Return the effects on the first metric of each task, the suites of a condition left out."""
    first = {(task, next(iter(metrics))) for task, metrics in better.items()}
    return [e for e in without_parts(found) if (e.task, e.metric) in first]


def without_parts(found: Sequence[Effect]) -> list[Effect]:
    """Return the effects on whole conditions; a suite ``CONDITION/UID`` is part of one."""
    whole = {(effect.task, effect.condition) for effect in found}
    return [e for e in found if (e.task, e.condition.rpartition("/")[0]) not in whole]


def condensed(found: Sequence[Effect], preferred: Collection[str]) -> list[Effect]:
    """Return effects with the conditions that are not ``preferred`` pooled where they are many.

    Where a metric has more than ``MAX_CONDITIONS`` conditions and some of them are preferred, the
    others become one effect, ``5 others``: the mean over them of every value, controls one by
    one, so that p compares means with means.
    """
    groups: dict[tuple[str, str, str, str, float], list[Effect]] = {}
    for e in found:
        groups.setdefault((e.task, e.metric, e.sites, e.mode, e.percent), []).append(e)
    told = []
    for group in groups.values():
        ahead = [e for e in group if e.condition in preferred]
        others = [e for e in group if e.condition not in preferred]
        alike = len({(len(e.controls), *(name for name, _ in e.others)) for e in others}) == 1
        if len(group) > MAX_CONDITIONS and ahead and len(others) > 1 and alike:
            group = [*ahead, _mean_effect(others)]
        told += group
    return told


def _mean_effect(effects: Sequence[Effect]) -> Effect:
    """Return the effect on the mean over conditions, each control averaged on its own."""
    further = zip(*(e.others for e in effects), strict=True)
    return replace(
        effects[0],
        condition=f"{len(effects)} others",
        intact=_mean([e.intact for e in effects]),
        ablated=_mean([e.ablated for e in effects]),
        controls=tuple(map(_mean, zip(*(e.controls for e in effects), strict=True))),
        others=tuple((same[0][0], _mean([value for _, value in same])) for same in further),
    )


def _mean(values: Sequence[float]) -> float:
    """Return the mean to 12 digits: equal means are then ties, however their parts rounded."""
    return float(f"{sum(values) / len(values):.12g}")


def at_one_dose(found: Sequence[Effect], percent: float | None) -> list[Effect]:
    """Return the effects at one dose per kind of site, by a rule that ignores the outcome.

    The dose is the ``percent`` that the contrast selects, where it was ablated, else the largest.
    """
    told = []
    for kind in dict.fromkeys(effect.sites for effect in found):
        here = [effect for effect in found if effect.sites == kind]
        doses = {effect.percent for effect in here}
        dose = percent if percent in doses else max(doses)
        told += [effect for effect in here if effect.percent == dose]
    return told


def shown_rows(found: Iterable[Effect]) -> list[Row]:
    """Return at most ``MAX_TOLD`` rows, the first condition of every task before any second."""
    rows = list(dict.fromkeys(row_of(effect) for effect in found))
    place = {row: [r for r in rows if r[0] == row[0]].index(row) for row in rows}
    kept = sorted(rows, key=lambda row: place[row])[:MAX_TOLD]
    return [row for row in rows if row in kept]


def summarize(found: Sequence[Effect], what: str) -> str:
    """Return in plain sentences what ablating ``what`` did, against its matched controls.

    Examples
    --------
    >>> copying = Effect("copying", "nll", "", "block", "zero", 1, "lower", 2, 1.9, (2.0,) * 20)
    >>> summarize([copying], "3 units")
    'Ablating 3 units harmed nothing that was measured. Copying nll did not suffer (2.00 → 1.90).'
    """
    told = sorted(found, key=lambda effect: effect.verdict != "specific")
    specific = [_damage(effect) for effect in told[:MAX_TOLD] if effect.verdict == "specific"]
    others = [_outcome(effect) for effect in told[:MAX_TOLD] if effect.verdict != "specific"]
    if more := told[MAX_TOLD:]:
        hit = sum(effect.verdict == "specific" for effect in more)
        others.append(f"{len(more)} more outcomes are in the table, {hit} of them specific")
    opening = "; it ".join(specific) or _nothing_specific({effect.verdict for effect in found})
    sentences = [f"Ablating {what} {opening}", *others]
    return ". ".join(text[:1].upper() + text[1:] for text in sentences) + "."


def _nothing_specific(verdicts: set[str]) -> str:
    if verdicts == {"unharmed"}:
        return "harmed nothing that was measured"
    if "too few controls" in verdicts:
        return "did damage that cannot be judged"
    return "did no damage beyond that of matched random units"


def _damage(effect: Effect) -> str:
    verb = "raised" if effect.ablated > effect.intact else "lowered"
    return f"{verb} {label(*row_of(effect))} {_from_to(effect)} ({_against(effect)})"


def _outcome(effect: Effect) -> str:
    name = label(*row_of(effect))
    if effect.verdict == "unharmed":
        return f"{name} did not suffer ({number(effect.intact)} → {number(effect.ablated)})"
    if effect.verdict == "too few controls":
        n = len(effect.controls)
        return f"{name} went {_from_to(effect)}; {n} random controls are too few to judge"
    return f"{name} went {_from_to(effect)} ({_against(effect)})"


def _from_to(effect: Effect) -> str:
    return f"from {number(effect.intact)} to {number(effect.ablated)}"


def _against(effect: Effect) -> str:
    n = len(effect.controls)
    reached = round(effect.p * (1 + n)) - 1  # the definition of p, solved for its count
    return f"{reached or 'none'} of {n} random controls did as much, p = {effect.p:.2g}"


def tell_profile(profile: Profile, kind: str, preferred: Collection[str]) -> str:
    """Return in sentences what the selected units of a kind respond to, and whether it lasts."""
    rows = [row for row in profile.of(kind, "selected") if not isnan(row.z)]
    place = "On stimuli that did not localize" if profile.held_out else "On the localizing stimuli"
    if not rows:
        return f"{place}, there is no response of selected {kind} units to tell."
    most, least = max(rows, key=lambda row: row.z), min(rows, key=lambda row: row.z)
    aside = "" if most.condition in preferred else ", which is not on the preferred side,"
    interval = f", 95 % CI {number(most.z_low)} to {number(most.z_high)}"
    interval = "" if isnan(most.z_low) else interval
    return (
        f"{place}, the selected {kind} units respond most to {most.condition}{aside} "
        f"(z = {number(most.z)}{interval}) and least to {least.condition} "
        f"(z = {number(least.z)}). {_tell_preferences(profile, kind)}"
    )


def _tell_preferences(profile: Profile, kind: str) -> str:
    ours, random = (profile.preference(kind, units) for units in ("selected", "random"))
    chance = tell_test(random, short=True)
    if isnan(ours.t):
        return "The contrast cannot be tested there."
    if not profile.held_out:
        opening = "Nothing was held out, so that this confirms nothing"
    elif ours.holds:
        opening = "The contrast holds there"
    else:
        opening = "The contrast does not hold there"
    return f"{opening}: {tell_test(ours)}; as many random units at the same sites: {chance}."


def tell_test(test: Preference, short: bool = False) -> str:
    """Return a test as it is written in a paper; ``short``: without df and p.

    Examples
    --------
    >>> tell_test(Preference("block", "selected", t=12.31, df=77.9, p=0.004, d=2.5))
    't(77.9) = 12.3, p = 0.004, d = 2.50'
    """
    if isnan(test.t):
        return "untestable" if short else "cannot be tested (one stimulus, or a broken activation)"
    if short:
        return f"t = {number(test.t)}, d = {number(test.d)}"
    p = "p < 0.001" if test.p < 0.001 else f"p = {test.p:.2g}"
    return f"t({test.df:.1f}) = {number(test.t)}, {p}, d = {number(test.d)}"
