"""The verdicts of several runs as rows of one table."""

from collections.abc import Sequence
from dataclasses import dataclass

from deeploc.core.verdict import Network
from deeploc.report.lesion_matrix import z_text
from deeploc.report.text import format_number
from deeploc.runs.saved_run import SavedRun


@dataclass(frozen=True)
class VerdictCell:
    """What the verdict of one run says in one row; ``details`` is what that rests on."""

    text: str = "\N{EN DASH}"
    details: tuple[str, ...] = ()


def verdict_rows(runs: Sequence[SavedRun], kind: str) -> dict[str, list[VerdictCell]]:
    """Return a row per question, with a cell per run; none where no run has a verdict.

    A dash stands for what was not asked, was not measured, or is about sites that a run lacks.

    Parameters
    ----------
    runs
        The runs.
    kind
        The kind of site.
    """
    networks = [run.network(kind) for run in runs]
    replies = [reply for network in networks if network for reply in network.replies]
    if not replies:
        return {}
    return {
        "units ablated": [_ablated(network) for network in networks],
        **{
            question: [_answer(network, question) for network in networks]
            for question in dict.fromkeys(reply.question for reply in replies)
        },
        "primary intact": [_primary(network, "intact") for network in networks],
        "primary ablated": [_primary(network, "ablated") for network in networks],
    }


def _ablated(network: Network | None) -> VerdictCell:
    if network is None:
        return VerdictCell()
    among = f"{network.percent:.3g} % of {network.n_units:,}"
    return VerdictCell(f"{network.n_ablated:,}", (among,))


def _answer(network: Network | None, question: str) -> VerdictCell:
    reply = network.reply(question) if network else None
    if reply is None or reply.answer == "not asked":
        return VerdictCell()
    tested = [] if reply.p is None else [p_text(reply.p)]
    level = [] if reply.level is None else [f"level {reply.level:.2g}"]
    return VerdictCell(reply.answer, (*tested, *level))


def _primary(network: Network | None, which: str) -> VerdictCell:
    reply = network.reply("causal") if network else None
    value = reply.numbers.get(which) if reply else None
    if reply is None or value is None:
        return VerdictCell()
    z = reply.numbers.get("z") if which == "ablated" else None
    return VerdictCell(format_number(value), () if z is None else (f"z = {z_text(z)}",))


def p_text(p: float) -> str:
    """Return a p value; below 0.001 only that.

    Examples
    --------
    >>> p_text(0.0123), p_text(1e-9)
    ('p = 0.012', 'p < 0.001')
    """
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
