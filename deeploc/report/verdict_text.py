"""The verdict in words: one line a question."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deeploc.core.stats import ALPHA
from deeploc.core.verdict import CHAIN, Network, Reply, Verdict
from deeploc.report.text import format_number, metric_label, outcome_label
from deeploc.report.untrained_text import summarize_copy

NOT_ASKED = "\N{EN DASH}"


def title_of(network: Network, contrast: str, model: str) -> str:
    """Return what the answers are about.

    Parameters
    ----------
    network
        The answers about one kind of site.
    contrast, model
        The names of both; of a model in a folder, the folder's own name is enough.

    Examples
    --------
    >>> title_of(Network("block", 256, 2, 1.0, ()), "language", "hf:/checkpoints/small")
    'language in hf:small · block · 1 % = 2 of 256 units'
    """
    adapter, _, name = model.partition(":")
    model = f"{adapter}:{Path(name).name}" if Path(name).is_absolute() else model
    units = f"{network.n_ablated:,} of {network.n_units:,} units"
    return f"{contrast} in {model} · {network.sites} · {network.percent:.3g} % = {units}"


def lines_of(network: Network, verdict: Verdict) -> list[tuple[str, str, str]]:
    """Return question, reply and reason of every question.

    Parameters
    ----------
    network
        The answers about one kind of site.
    verdict
        The whole they belong to.
    """
    reasons = {
        "selective": _selective,
        "reliable": _reliable,
        "causal": _causal,
        "specific": _specific,
        "robust": _robust,
        "trained": _trained,
    }
    return [
        (
            reply.question,
            NOT_ASKED if reply.answer == "not asked" else reply.answer,
            reasons[reply.question](reply, network, verdict),
        )
        for reply in network.replies
    ]


def conclusion(network: Network) -> str:
    """Return the answers in one sentence.

    Parameters
    ----------
    network
        The answers about one kind of site.

    Examples
    --------
    >>> conclusion(Network("block", 100, 1, 1.0, (Reply("selective", "no", 0.4, 0.05),)))
    'No network: the preference of the selected units is not confirmed.'
    """
    if not network.n_ablated:
        return "No network: no unit was selected."
    selective, causal, specific = (network.answer(question) for question in CHAIN)
    if selective == "no":
        return "No network: the preference of the selected units is not confirmed."
    if selective == "not asked":
        return "Nothing can be said: the selection was not tested."
    if causal == "no":
        return "Selective units, but no causal network: random units do as much."
    if causal == "not asked":
        return "Selective units; whether the model needs them was not tested."
    return {
        "yes": "A causal network, specific to the primary outcome.",
        "no": "A causal network, not specific to the primary outcome.",
    }.get(specific, "A causal network; whether it is specific was not tested.")


def rule_of(verdict: Verdict) -> str:
    """Return in one sentence at which error rate the answers hold."""
    kinds = sum(bool(network.replies) for network in verdict.networks)
    adjusted = f", for which p is adjusted over {kinds} kinds of site" if kinds > 1 else ""
    return (
        f"Any false yes among selective, causal and specific has a probability of at most "
        f"{100 * verdict.level:g} %{adjusted}."
    )


def _selective(reply: Reply, network: Network, _: Verdict) -> str:
    numbers = reply.numbers
    n = numbers["selected_units"]
    which = "" if n == network.n_ablated else f" (of the {n:,} selected units)"
    units = f"{numbers['significant_units']:,} units at q ≤ 0.05"
    if "d" not in numbers and reply.p is not None:
        above = f"{numbers['family_wise_units']:,} units beyond permuted labels"
        return f"{units}, {above}{_p(reply)}; not on fresh stimuli (split: none)"
    if "d" not in numbers:
        return f"{units}; no fresh stimuli to test it on (split: none)"
    d, random = (_number(numbers[key]) for key in ("d", "random_d"))
    return f"held-out d = {d}{which} (random units {random}){_p(reply)}; {units}"


def _reliable(reply: Reply, _: Network, __: Verdict) -> str:
    numbers = reply.numbers
    if not numbers:
        return "two halves of the stimuli could not be localized apart"
    shared, chance = 100 * numbers["overlap"], 100 * numbers["chance"]
    r = NOT_ASKED if numbers["r"] is None else f"{numbers['r']:.2f}".replace("-", "\N{MINUS SIGN}")
    return f"halves share {shared:.0f} % of the units (chance {chance:.2g} %), r(t) = {r}"


def _causal(reply: Reply, network: Network, verdict: Verdict) -> str:
    numbers = reply.numbers
    if not numbers:
        return "the primary outcome was not measured (verdict.primary, evaluate)"
    change = f"{_outcome(verdict.primary)} {_change(numbers)}"
    if network.answer("selective") != "yes":
        return f"{change}; asked only where the units are selective"
    if reply.p is None:
        sets = numbers["random_sets"]
        return f"{change}; {sets} random sets are too few to judge (--controls)"
    if numbers["damage"] is not None and numbers["damage"] <= 0:  # null: infinite
        return f"{change}: no damage"
    sets = f"{numbers['random_sets']} matched random sets"
    if numbers["as_damaging"] == 0:
        return f"{change}; none of {sets} does as much{_p(reply)}"
    return f"{change}; {numbers['as_damaging']} of {sets} do as much{_p(reply)}"


def _specific(reply: Reply, network: Network, _: Verdict) -> str:
    if network.answer("causal") != "yes":
        return "asked only where the damage is causal"
    if reply.p is None:
        return "nothing else was measured to compare with (verdict.against)"
    numbers = reply.numbers
    worst, difference = _outcome(numbers["worst_other"]), _number(numbers["difference"])
    relation = "suffers less" if reply.answer == "yes" else "suffers as much"
    return f"{worst} {relation}: difference {difference} SD of controls{_p(reply)}"


def _robust(reply: Reply, network: Network, _: Verdict) -> str:
    if network.answer("causal") != "yes":
        return "asked only where the damage is causal"
    modes: Mapping[str, float] = reply.numbers.get("modes") or {}
    if not modes:
        return "no other mode was measured on these units (ablate.mode, ablate.percent)"
    return "; ".join(f"{mode} ablation: p = {p:.2g}, not corrected" for mode, p in modes.items())


def _trained(reply: Reply, network: Network, _: Verdict) -> str:
    numbers = reply.numbers
    if network.answer("selective") != "yes":
        return "asked only where the preference is confirmed"
    if "selected_units" not in numbers:
        return numbers.get("reason") or "no untrained copy was localized; run again"
    return f"untrained copy: {summarize_copy(numbers, with_interval=reply.answer == 'no')}"


def _outcome(name: str | None) -> str:
    task, metric, *condition = (name or "//").split("/", 2)
    return outcome_label(task, metric, *condition) if condition else metric_label(task, metric)


def _change(numbers: Mapping[str, Any]) -> str:
    return f"{_number(numbers['intact'])} → {_number(numbers['ablated'])}"


def _number(value: float | None) -> str:
    return "not finite" if value is None else format_number(value)


def _p(reply: Reply) -> str:
    """Return p times the number of kinds of site that share the level: comparable with 0.05."""
    if reply.p is None or not reply.level:
        return ""
    p = min(reply.p * ALPHA / reply.level, 1.0)
    return ", p < 0.001" if p < 0.001 else f", p = {p:.2g}"
