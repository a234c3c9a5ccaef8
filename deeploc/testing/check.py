"""The conformance kit: named checks of any adapter, one per promise of its protocol."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal
from unittest import SkipTest

from deeploc.core.adapter import Adapter, ModelOptions
from deeploc.core.readout import Readout
from deeploc.stimuli import Stimulus
from deeploc.testing import ability_checks as ability
from deeploc.testing import ablation_checks as ablation
from deeploc.testing import reading_checks as reading
from deeploc.testing.checking import Load, Subject


@dataclass(frozen=True)
class Check:
    """One promise that an adapter makes.

    For pytest: ``@pytest.mark.parametrize("check", CHECKS, ids=str)``, and in the test
    ``check(adapter, stimuli)``; a check that does not apply raises `unittest.SkipTest`, which
    pytest shows as skipped.

    Parameters
    ----------
    name
        What it is called.
    run
        Raises AssertionError if the promise is broken.
    needs
        The check without which its result says nothing.
    """

    name: str
    run: Callable[[Subject], None]
    needs: str = "deterministic"

    @property
    def promise(self) -> str:
        """What is promised, in a sentence."""
        sentence = " ".join((self.run.__doc__ or "").split()).removeprefix("Check that ")
        return sentence[:1].upper() + sentence[1:]

    def __call__(
        self,
        adapter: Adapter,
        stimuli: Sequence[Stimulus],
        readout: Readout | None = None,
        load: Load | None = None,
    ) -> None:
        """Check one promise.

        Parameters
        ----------
        adapter
            The adapter under test.
        stimuli
            A few stimuli, of different lengths where it reads texts.
        readout
            How to read; default: the mean over positions.
        load
            How it is loaded once more.

        Raises
        ------
        AssertionError
            If the promise is broken.
        unittest.SkipTest
            If the check does not apply to the adapter.
        """
        self.run(Subject(adapter, stimuli, readout or Readout(pool="mean"), load))

    def __str__(self) -> str:
        return self.name


CHECKS: tuple[Check, ...] = (
    Check("description", reading.description, needs=""),
    Check("stable-sites", reading.stable_sites, needs="description"),
    Check("untrained", reading.untrained, needs="description"),
    Check("batches", reading.batches, needs="description"),
    Check("deterministic", reading.deterministic, needs="batches"),
    Check("batch-size", reading.batch_size),
    Check("neighbours", reading.neighbours),
    Check("order", reading.order),
    Check("site-alone", reading.site_alone),
    Check("positions", reading.positions),
    Check("position-batches", reading.position_batches),
    Check("no-units", ablation.no_units),
    Check("after-exception", ablation.after_exception),
    Check("other-units", ablation.other_units),
    Check("earlier-sites", ablation.earlier_sites),
    Check("zero", ablation.zero),
    Check("offset", ablation.offset),
    Check("scale", ablation.scale),
    Check("every-site", ablation.every_site),
    Check("effect", ability.effect),
    Check("forward-pass", ablation.forward_pass),
    Check("foreign-mask", ablation.foreign_mask),
    Check("tokenization", ability.tokenization),
    Check("score", ability.score),
    Check("generate", ability.generate),
    Check("classify", ability.classify),
)
"""Every check, in the order in which they are made."""


@dataclass(frozen=True)
class Outcome:
    """The result of a check.

    Parameters
    ----------
    name, promise
        Of the check.
    state
        Whether the promise is kept.
    reason
        What was found instead, or why the check was skipped.
    """

    name: str
    promise: str
    state: Literal["ok", "failed", "skipped"]
    reason: str = ""


def run_checks(
    adapter: Adapter,
    stimuli: Sequence[Stimulus],
    readout: Readout | None = None,
    *,
    load: Load | None = None,
    options: ModelOptions | None = None,
    checks: Sequence[Check] = CHECKS,
) -> list[Outcome]:
    """Return the outcome of every check; none stops at the failure of another.

    Parameters
    ----------
    adapter
        The adapter under test.
    stimuli
        A few stimuli, of different lengths where it reads texts.
    readout
        How to read; default: the mean over positions.
    load
        How the adapter is loaded once more; None: what needs it is skipped.
    options
        What it was loaded with.
    checks
        What is checked, in this order: those of the kit, or others beside them.
    """
    readout = readout or Readout(pool="mean")
    subject = Subject(adapter, stimuli, readout, load, options or ModelOptions())
    outcomes: dict[str, Outcome] = {}
    for check in checks:
        before = outcomes.get(check.needs)
        if before is not None and before.state != "ok":
            why = f"it rests on {check.needs!r}, which is {before.state}"
            outcomes[check.name] = Outcome(check.name, check.promise, "skipped", why)
        else:
            outcomes[check.name] = _outcome(check, subject)
    return list(outcomes.values())


def check_adapter(
    adapter: Adapter, stimuli: Sequence[Stimulus], readout: Readout | None = None
) -> None:
    """Check that an adapter does what the protocol `deeploc.core.adapter.Adapter` requires.

    Parameters
    ----------
    adapter
        The adapter under test.
    stimuli
        A few stimuli, of different lengths where it reads texts.
    readout
        How to read; default: the mean over positions.

    Raises
    ------
    AssertionError
        With the first requirement that is not met.
    """
    subject = Subject(adapter, stimuli, readout or Readout(pool="mean"))
    for check in CHECKS:
        try:
            check.run(subject)
        except SkipTest:
            continue


def _outcome(check: Check, subject: Subject) -> Outcome:
    try:
        check.run(subject)
    except SkipTest as skipped:
        return Outcome(check.name, check.promise, "skipped", str(skipped))
    except AssertionError as failure:
        return Outcome(check.name, check.promise, "failed", str(failure).partition(": ")[2])
    except Exception as error:  # the adapter's own code: what it does not survive, it does not keep
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return Outcome(check.name, check.promise, "failed", reason)
    return Outcome(check.name, check.promise, "ok")
