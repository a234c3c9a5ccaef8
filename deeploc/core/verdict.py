"""The verdict on a network: a few questions, each answered by a rule, at one level for a run.

docs/verdict.md has the rules in words. For each kind of site, three questions form a chain, and
each is asked only if the one before it was answered with yes:

selective
    Do the selected units prefer the positive side of the contrast on fresh stimuli?
causal
    Does ablating them damage the primary outcome more than ablating matched random sets does?
specific
    Does the primary outcome suffer more than every other one, compared with the same sets?

The chains of all kinds of site are tested by `deeploc.core.gatekeeping.gatekeep`: the probability
that anything is affirmed which is not so is at most 5 % for the whole run. ``reliable``,
``robust`` and ``trained`` are descriptions and claim no error rate. Units that are not ranked by
the contrast (``select.by``) need not prefer it: their chain begins with causal, and ``selective``
is a description, too.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from deeploc.core.damage import Damage
from deeploc.core.json_values import nulled
from deeploc.core.resampling import KindReliability
from deeploc.core.responses import Preference
from deeploc.core.untrained import KindUntrained

Answer = Literal["yes", "no", "partly", "not asked"]

CHAIN = ("selective", "causal", "specific")
"""The questions that are tested, in their order."""

HITS = 5
"""A test of damage ends when so many random sets did as much: p is then above any level."""


@dataclass(frozen=True)
class MassiveUnits:
    """What massive activations have to do with the damage.

    Parameters
    ----------
    n
        How many of the ablated units are massive.
    controls
        The names of the random sets that hold massive units.
    without
        Damage on the primary outcome of the ablated units without the massive ones, beside the
        random sets that hold none; None where it was not measured, or no unit is left.
    """

    n: int
    controls: frozenset[str] = frozenset()
    without: Damage | None = None


@dataclass(frozen=True)
class Evidence:
    """What is known about the network at the sites of one kind.

    Parameters
    ----------
    sites
        The kind of site.
    n_units
        How many units are there.
    n_selected
        How many of them the contrast selects: ``selected`` and ``reliability`` are about these.
    n_ablated
        How many of them are ablated: those that are selected, or those of ``verdict.dose``.
    percent
        The same in per cent.
    n_significant
        How many units have t > 0 at q <= 0.05.
    selected, random
        The contrast tested on fresh stimuli, on the selected and on as many random units; None
        where no stimuli were held out.
    reliability
        What resampling the localizing stimuli says; None where it was not done.
    primary
        Damage on the primary outcome; None where it was not measured.
    others
        Damage on the outcomes that must suffer less, by their names.
    modes
        Mode -> damage on the primary outcome in the further modes of ablation; those that amplify
        or add take nothing away, and say nothing of whether the units are needed.
    massive
        What massive activations have to do with it; None where they are not known.
    untrained
        What the contrast selects in an untrained copy of the model; None where that is not known.
    no_untrained
        Why it is not known; None where it was never asked.
    by
        What the units are ranked by: ``contrast`` (its statistic), ``attribution`` or ``gradient``.
    """

    sites: str
    n_units: int
    n_selected: int
    n_ablated: int
    percent: float
    n_significant: int
    selected: Preference | None = None
    random: Preference | None = None
    reliability: KindReliability | None = None
    primary: Damage | None = None
    others: Mapping[str, Damage] = field(default_factory=dict)
    modes: Mapping[str, Damage] = field(default_factory=dict)
    massive: MassiveUnits | None = None
    untrained: KindUntrained | None = None
    no_untrained: str | None = None
    by: str = "contrast"


@dataclass(frozen=True)
class Reply:
    """The answer to one question.

    Parameters
    ----------
    question
        Its name.
    answer
        ``yes``, ``no``, ``partly`` or ``not asked``.
    p
        The p value, None where nothing was tested.
    level
        The level that it was tested at, None where it claims none.
    numbers
        What else the answer rests on.
    """

    question: str
    answer: Answer
    p: float | None = None
    level: float | None = None
    numbers: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Network:
    """The answers about the units at the sites of one kind.

    ``n_massive`` of the ablated units are massive; None where that is not known. ``by`` is what
    the units are ranked by.
    """

    sites: str
    n_units: int
    n_ablated: int
    percent: float
    replies: tuple[Reply, ...]
    n_massive: int | None = None
    by: str = "contrast"

    def answer(self, question: str) -> Answer:
        """Return the answer to a question; ``not asked`` where there is none.

        Parameters
        ----------
        question
            Its name.
        """
        reply = self.reply(question)
        return reply.answer if reply else "not asked"

    def reply(self, question: str) -> Reply | None:
        """Return the reply to a question, None where there is none.

        Parameters
        ----------
        question
            Its name.
        """
        return next((reply for reply in self.replies if reply.question == question), None)


@dataclass(frozen=True)
class Verdict:
    """The answers about every kind of site, and what they rest on.

    Parameters
    ----------
    level
        The family-wise error rate.
    primary
        The name of the outcome that decides; None where none was measured.
    against
        The names of those that must suffer less.
    controls
        At most so many matched random sets count.
    networks
        The answers, per kind of site.
    """

    level: float
    primary: str | None
    against: tuple[str, ...]
    controls: int
    networks: tuple[Network, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values; null stands for what is not finite."""
        finite: dict[str, Any] = nulled(asdict(self))
        return finite

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Verdict":
        """Return the verdict that `to_json` described.

        Parameters
        ----------
        value
            What `to_json` returned.

        Raises
        ------
        ValueError, TypeError, KeyError
            If it is no verdict.
        """
        networks = tuple(
            Network(**{**network, "replies": tuple(Reply(**r) for r in network["replies"])})
            for network in value["networks"]
        )
        return cls(**{**value, "against": tuple(value["against"]), "networks": networks})
