"""Numbers, effects and response profiles as text."""

from collections.abc import Collection, Mapping, Sequence
from math import inf, isnan

from deeploc.core.effects import MIN_CONTROLS, Effect
from deeploc.core.modes import Manner, manner
from deeploc.core.resampling import Reliability
from deeploc.core.responses import Preference, Profile
from deeploc.core.results import Cell
from deeploc.report.outcomes import MAX_OUTCOMES, outcome_of

_DOING: Mapping[Manner, str] = {
    "ablation": "Ablating",
    "amplification": "Amplifying",
    "steering": "Steering",
}

_DASH = "\N{EN DASH}"
"""Stands for what was not computed."""


def format_number(value: float) -> str:
    """Return a number with three significant digits, and ∞ for infinity.

    Examples
    --------
    >>> [format_number(x) for x in (17.7432, 0.5, 999.6, 26341, 1.5e-7, 0, float("inf"))]
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


def metric_label(task: str, metric: str) -> str:
    """Return the name of a metric of a task, without repetition.

    Parameters
    ----------
    task, metric
        Their names in scores.csv.

    Examples
    --------
    >>> metric_label("minimal-pairs", "accuracy"), metric_label("perplexity", "perplexity")
    ('minimal-pairs accuracy', 'perplexity')
    """
    return metric if metric == task else f"{task} {metric}"


def outcome_label(task: str, metric: str, condition: str) -> str:
    """Return the name of an outcome.

    Parameters
    ----------
    task, metric, condition
        Their names in scores.csv.

    Examples
    --------
    >>> outcome_label("minimal-pairs", "accuracy", "grammar")
    'minimal-pairs accuracy (grammar)'
    >>> outcome_label("perplexity", "perplexity", "")
    'perplexity'
    """
    name = metric_label(task, metric)
    return f"{name} ({condition})" if condition and condition != task else name


def mask_label(cell: Cell) -> str:
    """Return which units of a kind were ablated.

    Examples
    --------
    >>> mask_label(Cell("block", "zero", 5.0, "top"))
    'top 5 %'
    >>> mask_label(Cell("block", "zero", 0.9766, "selected"))
    'selected units'
    """
    return "selected units" if cell.mask == "selected" else f"{cell.mask} {cell.percent:g} %"


def describe_effects(effects: Sequence[Effect], ablated: str) -> str:
    """Return sentences on what an ablation did, compared with its matched controls.

    Parameters
    ----------
    effects
        The effects of one ablation on several outcomes; those beyond `MAX_OUTCOMES` are counted.
    ablated
        The units that were ablated, in words.

    Examples
    --------
    >>> copying = Effect("copying", "nll", "", "block", "zero", 1, "lower", 2, 1.9, (2.0,) * 20)
    >>> describe_effects([copying], "3 units")
    'Ablating 3 units harmed no measured outcome. Copying nll was unharmed (2.00 → 1.90).'
    """
    ordered = sorted(effects, key=lambda effect: effect.verdict != "beyond random")
    described, rest = ordered[:MAX_OUTCOMES], ordered[MAX_OUTCOMES:]
    beyond = [_beyond_random(e) for e in described if e.verdict == "beyond random"]
    others = [_other_effect(e) for e in described if e.verdict != "beyond random"]
    if rest:
        n_beyond = sum(effect.verdict == "beyond random" for effect in rest)
        others.append(
            f"{len(rest)} more outcomes are in the table, {n_beyond} of them beyond random"
        )
    opening = "; it ".join(beyond) or _nothing_beyond({effect.verdict for effect in effects})
    doing = _DOING[manner(effects[0].mode)]
    sentences = [f"{doing} {ablated} {opening}", *others]
    return ". ".join(text[:1].upper() + text[1:] for text in sentences) + "."


def _nothing_beyond(verdicts: set[str]) -> str:
    if verdicts == {"unharmed"}:
        return "harmed no measured outcome"
    if "too few controls" in verdicts:
        return "did damage that cannot be judged"
    return "did no damage beyond that of matched random units"


def _beyond_random(effect: Effect) -> str:
    verb = "raised" if effect.ablated > effect.intact else "lowered"
    return f"{verb} {outcome_label(*outcome_of(effect))} {_change(effect)} ({_comparison(effect)})"


def _other_effect(effect: Effect) -> str:
    name = outcome_label(*outcome_of(effect))
    if effect.verdict == "unharmed":
        intact, ablated = format_number(effect.intact), format_number(effect.ablated)
        return f"{name} was unharmed ({intact} → {ablated})"
    if effect.verdict == "too few controls":
        counts = f"{len(effect.controls)} of at least {MIN_CONTROLS}"
        return f"{name} went {_change(effect)}; too few random controls to judge ({counts})"
    return f"{name} went {_change(effect)} ({_comparison(effect)})"


def _change(effect: Effect) -> str:
    return f"from {format_number(effect.intact)} to {format_number(effect.ablated)}"


def _comparison(effect: Effect) -> str:
    n = len(effect.controls)
    reached = round(effect.p * (1 + n)) - 1  # the definition of p, solved for its count
    return f"{reached or 'none'} of {n} random controls did as much damage, p = {effect.p:.2g}"


def describe_profile(profile: Profile, kind: str, preferred: Collection[str]) -> str:
    """Return sentences on the responses of the selected units and on the test of the contrast.

    Parameters
    ----------
    profile
        The response profile of a run.
    kind
        The kind of site.
    preferred
        The conditions on the preferred side of the contrast.
    """
    rows = [row for row in profile.of(kind, "selected") if not isnan(row.z)]
    stimuli = "held-out stimuli" if profile.held_out else "the localizing stimuli"
    if not rows:
        return f"On {stimuli} the selected {kind} units have no finite response."
    most, least = max(rows, key=lambda row: row.z), min(rows, key=lambda row: row.z)
    aside = "" if most.condition in preferred else ", which is not on the preferred side,"
    interval = f", 95 % CI {format_number(most.z_low)} to {format_number(most.z_high)}"
    interval = "" if isnan(most.z_low) else interval
    return (
        f"On {stimuli} the selected {kind} units respond most to {most.condition}{aside} "
        f"(z = {format_number(most.z)}{interval}) and least to {least.condition} "
        f"(z = {format_number(least.z)}). {_describe_test(profile, kind)}"
    )


def _describe_test(profile: Profile, kind: str) -> str:
    selected, random = (profile.preference(kind, units) for units in ("selected", "random"))
    if isnan(selected.t):
        return "The contrast cannot be tested there."
    if not profile.held_out:
        opening = "No stimuli were held out, so this is no independent confirmation"
    elif selected.holds:
        opening = "The contrast holds there"
    else:
        opening = "The contrast does not hold there"
    chance = format_test(random, short=True)
    return f"{opening}: {format_test(selected)}; as many random units at the same sites: {chance}."


def format_test(test: Preference, *, short: bool = False) -> str:
    """Return a test as papers report it.

    Parameters
    ----------
    test
        t, df, p and Cohen's d.
    short
        Whether df and p are left out.

    Examples
    --------
    >>> format_test(Preference("block", "selected", t=12.31, df=77.9, p=0.004, d=2.5))
    't(77.9) = 12.3, p = 0.004, d = 2.50'
    """
    if isnan(test.t):
        reason = "cannot be tested (one stimulus, or a non-finite activation)"
        return "untestable" if short else reason
    if short:
        return f"t = {format_number(test.t)}, d = {format_number(test.d)}"
    p = "p < 0.001" if test.p < 0.001 else f"p = {test.p:.2g}"
    return f"t({test.df:.1f}) = {format_number(test.t)}, {p}, d = {format_number(test.d)}"


def describe_reliability(
    reliability: Reliability, kind: str, statistic: str = "t"
) -> tuple[str, str]:
    r"""Return two lines on how far the selection depends on the stimuli, and on chance.

    A dash stands for what was not computed; `Reliability.missing` says why.

    Parameters
    ----------
    reliability
        That of a run.
    kind
        The kind of site.
    statistic
        The symbol of what units are ranked by.

    Examples
    --------
    >>> from deeploc.core.resampling import Folds, Halves, KindReliability, Permutations
    >>> parts = Halves(0.934, 0.71, 0.01), Folds((2.8, 3.0)), Permutations(1000, 9, 0.001, 5.12, 39)
    >>> found = Reliability([KindReliability("block", *parts)])
    >>> print(*describe_reliability(found, "block"), sep="\n")
    block: split halves share 71 % of the units (chance 1 %), r(t) = 0.93
      held out d = 2.90 (2 folds); 39 units above permuted t = 5.12, p = 0.001
    """
    part = reliability.of(kind)
    halves = folds = permuted = _DASH
    if part.halves:
        share, chance = _share(part.halves.overlap), _share(part.halves.chance)
        r = (
            _DASH
            if isnan(part.halves.r)
            else f"{part.halves.r:z.2f}".replace("-", "\N{MINUS SIGN}")
        )
        halves = f"{share} of the units (chance {chance}), r({statistic}) = {r}"
    if part.folds:
        folds = f"{_or_dash(part.folds.mean)} ({len(part.folds.d)} folds)"
    if part.permutations:
        null = part.permutations
        above = f"{null.n_above:,} unit{'s' * (null.n_above != 1)}"
        p = _DASH if isnan(null.p) else f"{null.p:.2g}"
        permuted = f"{above} above permuted {statistic} = {_or_dash(null.threshold)}, p = {p}"
    return f"{kind}: split halves share {halves}", f"  held out d = {folds}; {permuted}"


def describe_missing(reliability: Reliability) -> list[str]:
    """Return why parts of a reliability are missing, one line per reason.

    Examples
    --------
    >>> describe_missing(Reliability([], {"halves": "too few stimuli", "folds": "too few stimuli"}))
    ['not computed: halves, folds (too few stimuli)']
    """
    parts: dict[str, list[str]] = {}
    for part, reason in reliability.missing.items():
        parts.setdefault(reason, []).append(part)
    return [f"not computed: {', '.join(names)} ({reason})" for reason, names in parts.items()]


def _share(share: float) -> str:
    """Return a share as a percentage with at most one digit behind the point."""
    return _DASH if isnan(share) else f"{100 * share:.1f}".removesuffix(".0") + " %"


def _or_dash(value: float) -> str:
    return _DASH if isnan(value) else format_number(value)
