"""The verdict in words: one line a question."""

from collections.abc import Callable, Mapping
from functools import partial
from math import isfinite
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
    >>> title_of(Network("block", 256, 2, 1.0, (), n_massive=1), "faces", "timm:local-dir:/a/vit")
    'faces in timm:local-dir:vit · block · 1 % = 2 of 256 units, 1 massive'
    >>> title_of(Network("block", 256, 2, 1.0, (), by="attribution"), "language", "hf:gpt2")
    'language in hf:gpt2 · block by attribution · 1 % = 2 of 256 units'
    """
    adapter, colon, name = model.rpartition(":")
    model = f"{adapter}{colon}{Path(name).name}" if Path(name).is_absolute() else model
    units = f"{network.n_ablated:,} of {network.n_units:,} units"
    massive = f", {network.n_massive:,} massive" if network.n_massive else ""
    by = "" if network.by == "contrast" else f" by {network.by}"
    of_kind = f"{network.sites}{by} · {network.percent:.3g} %"
    return f"{contrast} in {model} · {of_kind} = {units}{massive}"


def lines_of(
    network: Network, verdict: Verdict, statistic: str = "t"
) -> list[tuple[str, str, str]]:
    """Return question, reply and reason of every question.

    Parameters
    ----------
    network
        The answers about one kind of site.
    verdict
        The whole they belong to.
    statistic
        The symbol of what units are ranked by.
    """
    reasons: dict[str, Callable[[Reply, Network, Verdict], str]] = {
        "selective": _selective,
        "reliable": partial(_reliable, statistic=statistic),
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


def conclusion(network: Network, why_none: str = "no unit was selected") -> str:
    """Return the answers in one sentence.

    Parameters
    ----------
    network
        The answers about one kind of site.
    why_none
        Why no unit was selected, where none was.

    Examples
    --------
    >>> conclusion(Network("block", 100, 1, 1.0, (Reply("selective", "no", 0.4, 0.05),)))
    'No network: the preference of the selected units is not confirmed.'
    """
    if not network.n_ablated:
        return f"No network: {why_none}."
    of_contrast = network.by == "contrast"
    return _conclusion_of_contrast(network) if of_contrast else _conclusion_of_ranking(network)


def _conclusion_of_contrast(network: Network) -> str:
    selective, causal, specific, copied = map(network.answer, (*CHAIN, "trained"))
    if selective == "no":
        return "No network: the preference of the selected units is not confirmed."
    if selective == "not asked":
        return "Nothing can be said: the selection was not tested."
    if causal == "not asked":
        return "Selective units; whether the model needs them was not tested."
    alone = without_massive_alone(network)
    if causal == "no" and alone:
        return (
            "No causal network by the rule: random units do as much if massive ones are among them."
        )
    if causal == "no":
        return "Selective units, but no causal network: random units do as much."
    if alone is False:
        return "No network beyond massive activations: without them damage is not beyond random."
    network_is = {
        "yes": "A causal network, specific to the primary outcome.",
        "no": "A causal network, not specific to the primary outcome.",
    }.get(specific, "A causal network; whether it is specific was not tested.")
    untrained = " An untrained copy has such units too." if copied == "no" else ""
    return f"{network_is}{untrained}"


def _conclusion_of_ranking(network: Network) -> str:
    """Return the answers about units that are not ranked by the contrast in one sentence."""
    selective, causal, specific = map(network.answer, CHAIN)
    found = {
        "yes": "Causal units",
        "no": "No causal units: random ones do as much",
    }.get(causal, "Whether the model needs these units was not tested")
    if causal == "yes" and without_massive_alone(network) is False:
        found = "No causal units beyond massive activations"
    if causal == "yes":
        found += {
            "yes": ", specific to the primary outcome",
            "no": ", not specific to the primary outcome",
        }.get(specific, "; whether they are specific was not tested")
    preference = {
        "yes": "; they prefer the contrast",
        "no": "; they do not prefer the contrast",
    }.get(selective, "")
    return f"{found}{preference}."


def without_massive_alone(network: Network) -> bool | None:
    """Return whether the units without massive ones do more than random ones; None: not asked.

    Parameters
    ----------
    network
        The answers about one kind of site.
    """
    robust = network.reply("robust")
    massive = robust.numbers.get("massive") if robust else None
    return None if massive is None else bool(massive["p"] <= ALPHA)


def rule_of(verdict: Verdict) -> str:
    """Return in one sentence at which error rate the answers hold."""
    kinds = sum(bool(network.replies) for network in verdict.networks)
    adjusted = f", for which p is adjusted over {kinds} kinds of site" if kinds > 1 else ""
    by_contrast = all(network.by == "contrast" for network in verdict.networks)
    tested = "selective, causal and specific" if by_contrast else "causal and specific"
    return (
        f"Any false yes among {tested} has a probability of at most "
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


def _reliable(reply: Reply, _: Network, __: Verdict, statistic: str) -> str:
    numbers = reply.numbers
    if "by" in numbers:
        return f"halves are compared by the statistic, units are ranked by {numbers['by']}"
    if not numbers:
        return "two halves of the stimuli could not be localized apart"
    shared, chance = 100 * numbers["overlap"], 100 * numbers["chance"]
    r = NOT_ASKED if numbers["r"] is None else f"{numbers['r']:.2f}".replace("-", "\N{MINUS SIGN}")
    units = f"{shared:.0f} % of the units (chance {chance:.2g} %)"
    return f"halves share {units}, r({statistic}) = {r}"


def _causal(reply: Reply, network: Network, verdict: Verdict) -> str:
    numbers = reply.numbers
    asked = network.by != "contrast" or network.answer("selective") == "yes"
    if not numbers and not asked:
        return "asked only where the units are selective"
    if not numbers:
        return "the primary outcome was not measured (verdict.primary, evaluate)"
    change = f"{_outcome(verdict.primary)} {_change(numbers)}"
    if not asked:
        return f"{change}; asked only where the units are selective"
    if numbers["intact"] is None or not isfinite(numbers["intact"]):
        return f"{change}: the intact model has no finite value; name another (verdict.primary)"
    if not numbers.get("above_guessing", True):
        return f"{change}: the intact model only guesses; name another outcome (verdict.primary)"
    if reply.p is None:
        sets = numbers["random_sets"]
        return f"{change}; {sets} random sets are too few to judge (--controls)"
    if numbers["damage"] is not None and numbers["damage"] <= 0:  # null: infinite
        return f"{change}: no damage"
    sets = f"{numbers['random_sets']} matched random sets"
    massive = numbers.get("as_damaging_massive", 0)
    marked = f" ({massive} with massive units)" if massive else ""
    return f"{change}; {_count(numbers['as_damaging'], sets)} as much{marked}{_p(reply)}"


def _specific(reply: Reply, network: Network, _: Verdict) -> str:
    if network.answer("causal") != "yes":
        return "asked only where the damage is causal"
    numbers = reply.numbers
    left_out = ", ".join(
        f"{_outcome(name)} (intact {_number(intact)})"
        for name, intact in numbers.get("cannot_suffer", {}).items()
    )
    if "worst_other" not in numbers and left_out:
        return f"{left_out} cannot suffer; name outcomes that can (verdict.against)"
    if reply.p is None:
        return "nothing else was measured to compare with (verdict.against)"
    left_out = f"; {left_out} cannot suffer" if left_out else ""
    worst, difference = _outcome(numbers["worst_other"]), _number(numbers["difference"])
    relation = "suffers less" if reply.answer == "yes" else "suffers as much"
    return f"{worst} {relation}: difference {difference} SD of controls{_p(reply)}{left_out}"


def _robust(reply: Reply, network: Network, verdict: Verdict) -> str:
    numbers = reply.numbers
    modes: Mapping[str, float] = numbers.get("modes") or {}
    parts = [f"{mode} ablation: p = {p:.2g}, not corrected" for mode, p in modes.items()]
    if massive := numbers.get("massive"):
        parts.append(_without_massive(massive, verdict))
    if parts:
        return "; ".join(parts)
    if network.answer("causal") != "yes":
        return "asked only where the damage is causal"
    return "no other ablation was measured on these units (ablate.mode, ablate.percent)"


def _without_massive(massive: Mapping[str, Any], verdict: Verdict) -> str:
    """Return what remains of the damage without massive units."""
    n, of = massive["units"], massive["of"]
    if n == of:
        return "every one of these units is massive"
    if "ablated" not in massive:
        return f"{n:,} of {of:,} units are massive; without them nothing was measured"
    sets = f"{massive['random_sets']} random sets without any"
    counted = f"{_count(massive['as_damaging'], sets)} as much, p = {massive['p']:.2g}"
    if not n:
        return counted
    change = f"{_outcome(verdict.primary)} {_change(massive)}"
    return f"{n:,} of {of:,} units are massive; without them {change}, {counted}"


def _count(n: int, sets: str) -> str:
    return f"{n or 'none'} of {sets} {'do' if n > 1 else 'does'}"


def _trained(reply: Reply, network: Network, _: Verdict) -> str:
    numbers = reply.numbers
    if network.by == "contrast" and network.answer("selective") != "yes":
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
    if reply.p is None:
        return ""
    if not reply.level:
        uncorrected = "p < 0.001" if reply.p < 0.001 else f"p = {reply.p:.2g}"
        return f", {uncorrected}, not corrected"
    p = min(reply.p * ALPHA / reply.level, 1.0)
    return ", p < 0.001" if p < 0.001 else f", p = {p:.2g}"
