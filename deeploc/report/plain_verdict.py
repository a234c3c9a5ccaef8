"""The verdict in plain words: was there a network, where, on what evidence, what would change it.

Every answer rests on the replies of `deeploc.core.verdict`; nothing is decided here.
"""

from collections.abc import Sequence

from deeploc.core.units import UnitMask
from deeploc.core.verdict import Network, Reply, Verdict
from deeploc.report.figures import chance_band
from deeploc.report.text import outcome_label
from deeploc.report.verdict_text import lines_of, without_massive_alone

_NAMED = 3
"""So many sites are named; of more the number is given."""

_EVIDENCE = {
    "selective": "Preference",
    "causal": "Damage",
    "specific": "Beside other outcomes",
}
"""What a question of the chain is about."""

_DOUBTS = {
    ("reliable", "no"): "Two halves of the stimuli select mostly different units.",
    ("reliable", "partly"): "Two halves of the stimuli share only a part of the units.",
    ("robust", "no"): "A further way to ablate the units does not confirm the damage.",
    ("robust", "partly"): "Not every way to ablate the units confirms the damage.",
    ("trained", "no"): "An untrained copy of the model has such units as well.",
    ("trained", "partly"): "An untrained copy of the model has weaker units of this kind.",
}
"""What speaks against a network although it decides nothing."""


def was_there_a_network(network: Network, verdict: Verdict, preferred: str, why_none: str) -> str:
    """Return whether there was a network, the first word being the answer.

    Parameters
    ----------
    network, verdict
        The answers about one kind of site, and the whole they belong to.
    preferred
        The preferred side of the contrast.
    why_none
        Why no unit was selected, where none was.
    """
    if not network.n_ablated:
        return f"No: {why_none}."
    if network.by == "contrast":
        if network.answer("selective") == "no":
            return f"Not shown: on fresh stimuli the selected units do not prefer {preferred}."
        if network.answer("selective") == "not asked":
            return "Not known: the selection was not tested."
    return _causal_network(network, outcome_in_words(verdict.primary))


def _causal_network(network: Network, primary: str) -> str:
    causal, specific = network.answer("causal"), network.answer("specific")
    alone = without_massive_alone(network)
    if causal == "not asked":
        return "Not known: whether the model needs the selected units was not tested."
    if causal == "no" and alone:
        return "Not by the rule: random sets with massive units among them do as much damage."
    if causal == "no":
        return f"No: without these units, {primary} is no worse than without as many random ones."
    if alone is False:
        return "No: all damage beyond that of random units is that of massive activations."
    needs = f"the model needs these units for {primary}"
    return {
        "yes": f"Yes: {needs}, and for that more than for anything else that was measured.",
        "no": f"In part: {needs}, but not more than for something else that was measured.",
    }.get(specific, f"In part: {needs}; whether only for that was not tested.")


def where(mask: UnitMask, kind: str) -> str:
    """Return at which sites the selected units are, and where there are more than by chance.

    Parameters
    ----------
    mask
        The selected units.
    kind
        The kind of site.
    """
    sites = [site for site in mask.layout.sites if site.kind == kind]
    counts = [int(mask.at(site.name).sum()) for site in sites]
    n_units, n_selected = sum(site.n_units for site in sites), sum(counts)
    held = sum(count > 0 for count in counts)
    found = (
        f"{n_selected:,} of {n_units:,} {kind} units ({100 * n_selected / n_units:.3g} %), at "
        f"{held:,} of {len(sites):,} sites"
    )
    _, high = chance_band(mask, kind)
    more = [
        (count, f"{site.name} ({count:,} of {site.n_units:,})")
        for site, count, bound in zip(sites, counts, high, strict=True)
        if count > bound
    ]
    if not more:
        return f"{found}; nowhere more than expected by chance."
    first = [name for _, name in sorted(more, key=lambda item: -item[0])[:_NAMED]]
    others = f" and {len(more) - len(first):,} more" if len(more) > len(first) else ""
    return f"{found}; more than expected by chance at {', '.join(first)}{others}."


def evidence(network: Network, verdict: Verdict, statistic: str) -> list[str]:
    """Return a line per question of the chain that was asked.

    Parameters
    ----------
    network, verdict
        The answers about one kind of site, and the whole they belong to.
    statistic
        The symbol of what units are ranked by.
    """
    asked = [
        f"{_EVIDENCE[question]}: {reason}."
        for question, _, reason in lines_of(network, verdict, statistic)
        if question in _EVIDENCE and network.answer(question) != "not asked"
    ]
    return asked or ["None: nothing was tested."]


def what_would_change_it(
    network: Network, verdict: Verdict, preferred: str, warnings: Sequence[str]
) -> list[str]:
    """Return what would change the answer, and what speaks against it.

    Parameters
    ----------
    network, verdict
        The answers about one kind of site, and the whole they belong to.
    preferred
        The preferred side of the contrast.
    warnings
        Differences between the conditions that alone could explain the contrast.
    """
    doubts = [
        _DOUBTS[question, answer]
        for question in ("reliable", "robust", "trained")
        if (question, answer := network.answer(question)) in _DOUBTS
    ]
    if warnings:
        more = f" ({len(warnings) - 1:,} more below)" if len(warnings) > 1 else ""
        doubts.append(f"The conditions also differ otherwise: {warnings[0]}{more}.")
    return [_missing(network, verdict, preferred), *doubts]


def _missing(network: Network, verdict: Verdict, preferred: str) -> str:
    """Return what the first question lacks that was not answered with yes."""
    if not network.n_ablated:
        return "Stimuli or a rule that select at least one unit."
    if network.by == "contrast" and network.answer("selective") == "no":
        return f"A preference of the selected units for {preferred} on fresh stimuli, p ≤ 0.05."
    if network.by == "contrast" and network.answer("selective") == "not asked":
        return "Stimuli to test the selection on that did not select (split: half)."
    causal, specific = network.reply("causal"), network.reply("specific")
    if causal is None or causal.answer != "yes":
        return _missing_damage(causal, verdict)
    if without_massive_alone(network) is False:
        return "Damage beyond random sets, p ≤ 0.05, without the massive units."
    if specific is None or specific.answer == "not asked":
        return "Other outcomes measured beside it that can suffer (verdict.against)."
    if specific.answer == "no":
        worst = outcome_in_words(specific.numbers.get("worst_other"))
        return f"{outcome_in_words(verdict.primary)} suffering more than {worst}, p ≤ 0.05."
    return (
        "Fresh stimuli or another seed with which one of these tests fails, or an outcome that was "
        "not measured here and suffers as much."
    )


def _missing_damage(causal: Reply | None, verdict: Verdict) -> str:
    numbers = causal.numbers if causal else {}
    if not numbers:
        return "A measurement of what the model can do without these units (deeploc evaluate)."
    if not numbers.get("above_guessing", True):
        return "An outcome on which the intact model does not only guess (verdict.primary)."
    if causal is not None and causal.p is None:
        return "At least 19 matched random sets to compare the damage with (--controls)."
    primary = outcome_in_words(verdict.primary)
    return (
        f"More damage to {primary} than random sets do, p ≤ 0.05; another dose or outcome is "
        "another question, to be fixed beforehand."
    )


def outcome_in_words(outcome: str | None) -> str:
    """Return what an outcome of verdict.json is called.

    Parameters
    ----------
    outcome
        ``TASK/METRIC/CONDITION``; None where none was measured.

    Examples
    --------
    >>> outcome_in_words("perplexity/perplexity/sentences")
    'perplexity (sentences)'
    """
    if outcome is None:
        return "the primary outcome"
    task, metric, condition = [*outcome.split("/", 2), ""][:3]
    return outcome_label(task, metric, condition)
