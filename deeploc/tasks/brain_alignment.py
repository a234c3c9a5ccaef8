"""Brain alignment: how well the activations of units predict measured responses to texts."""

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float

from deeploc.core.readout import Readout
from deeploc.core.results import Better, Measurement
from deeploc.core.task import Reading, TaskContext
from deeploc.core.units import Layout
from deeploc.errors import TaskError
from deeploc.stimuli import Stimulus

from ._encoding import (
    Covariates,
    Features,
    Folds,
    HeldOut,
    Shares,
    correlation,
    explained,
    folds_of_blocks,
    folds_of_groups,
    held_out,
)
from ._response_file import NAME, Options, load
from ._responses import Responses

ALL = "all"
"""The condition of the mean over all responses; ``all/NAME`` is one of them."""

MAX_SHOWN = 20
"""Up to so many responses are reported one by one."""


class BrainAlignment:
    """How well units predict measured responses: Pearson's r and R² of ridge regression.

    The responses to every passage are predicted from the activations of the units, by a regression
    on the other passages (`deeploc.tasks._encoding`). ``r`` is the mean over folds and responses;
    ``r-normalized``, where ceilings are given, that of r divided by the ceiling of the response;
    ``r2`` the mean over responses of the explained part of the squared error. ``r-length`` is r of
    what the length of a text in words and characters predicts in the same folds: no unit is needed
    for it, so it is the same for every mask. ``r-beyond-length`` is r between what length leaves of
    the responses and what the units predict of that. Items are passages, or stimuli where these
    are not known.

    Parameters
    ----------
    responses
        What was measured.
    options
        Folds and penalties.
    readout
        How activations are read.

    References
    ----------
    AlKhamissi et al. (2025), arXiv:2411.02280: language units against as many random ones, ridge
    regression, Pearson's r. Feghhi et al., arXiv:2406.01538: folds that share passages let
    predictors succeed that know nothing but which sentences stood together.
    """

    name = NAME

    def __init__(self, responses: Responses, options: Options, readout: Readout) -> None:
        self._responses = responses
        self._options = options
        self._readout = readout
        self._folds = _folds(responses, options.folds)
        normalized = ("r-normalized",) if responses.ceilings is not None else ()
        metrics = ("r", *normalized, "r2", "r-length", "r-beyond-length")
        self.metrics: Mapping[str, Better] = dict.fromkeys(metrics, "higher")

    @property
    def identity(self) -> Mapping[str, Any]:
        """Options and the hash of the responses."""
        readout, options = self._readout, self._options
        return {
            "responses": _content_hash(self._responses),
            "stimuli": len(self._responses.texts),
            "grouped": self._responses.groups is not None,
            "folds": int(self._folds.max()) + 1,
            "alpha": list(options.alpha),
            "read": {k: getattr(readout, k) for k in ("pool", "tokens", "max_tokens")},
        }

    @property
    def notices(self) -> Sequence[str]:
        """What the folds cannot exclude."""
        if self._responses.groups is not None:
            return ()
        return (
            f"{NAME}: no column says which passage a text is of, so the folds are contiguous "
            "blocks in the order of the file; where that is not the order of the passages, folds "
            "share passages and r is too high for selected and random units alike (`group:`)",
        )

    def reading(self, layout: Layout) -> Reading:
        """Return what is read: every text, at all sites of the run."""
        texts = zip(self._responses.ids, self._responses.texts, strict=True)
        return Reading(tuple(Stimulus(*each) for each in texts), layout, self._readout)

    def measure_units(self, activations: Float[np.ndarray, "stimulus unit"]) -> list[Measurement]:
        """Return r, R² and normalized r of all responses, and of each where there are few."""
        held = self._held_out(activations)
        r = correlation(held)
        shares = {"r": r, "r2": explained(held)}
        if self._responses.ceilings is not None:
            shares["r-normalized"] = r.over(self._responses.ceilings)
        if not r.weights.any():
            raise TaskError(
                f"task {NAME!r}: no response varies within a fold, so nothing can be correlated; "
                "give more texts, or fewer folds"
            )
        beyond = correlation(self._held_out(activations, self._lengths))
        made = [each for metric, own in shares.items() for each in self._measurements(metric, own)]
        return [*made, self._of_length, self._measurement("r-beyond-length", ALL, beyond.mean())]

    def _held_out(self, features: Features, covariates: Covariates | None = None) -> HeldOut:
        values, alphas = self._responses.values, self._options.alpha
        return held_out(features, values, self._folds, alphas, covariates=covariates)

    @cached_property
    def _lengths(self) -> Covariates:
        """Words and characters of every text."""
        return np.array([[len(text.split()), len(text)] for text in self._responses.texts], float)

    @cached_property
    def _of_length(self) -> Measurement:
        """What the lengths of the texts alone predict."""
        shares = correlation(self._held_out(self._lengths))
        return self._measurement("r-length", ALL, shares.mean())

    def _measurements(self, metric: str, shares: Shares) -> list[Measurement]:
        names = self._responses.names
        made = [self._measurement(metric, ALL, shares.mean())]
        if 1 < len(names) <= MAX_SHOWN:
            for number, name in enumerate(names):
                own = Shares(shares.amounts[:, [number]], shares.weights[:, [number]])
                if own.weights.any():
                    made.append(self._measurement(metric, f"{ALL}/{name}", own))
        return made

    def _measurement(self, metric: str, condition: str, shares: Shares) -> Measurement:
        amount, weight = shares.amounts.sum(axis=1), shares.weights.sum(axis=1)
        if self._responses.groups is not None:
            _, owners = np.unique(np.array(self._responses.groups), return_inverse=True)
            amount, weight = (np.bincount(owners, each) for each in (amount, weight))
        return Measurement(metric, condition, amount, weight)


def _folds(responses: Responses, n_folds: int) -> Folds:
    if responses.groups is None:
        return folds_of_blocks(len(responses.texts), n_folds)
    return folds_of_groups(responses.groups, n_folds)


def _content_hash(responses: Responses) -> str:
    digest = hashlib.sha256(repr((responses.texts, responses.groups, responses.names)).encode())
    digest.update(np.ascontiguousarray(responses.values).tobytes())
    if responses.ceilings is not None:
        digest.update(responses.ceilings.tobytes())
    return digest.hexdigest()


def make(options: Mapping[str, Any], context: TaskContext) -> BrainAlignment:
    """Return the task over the responses in a file.

    Parameters
    ----------
    options
        See `Options`.
    context
        Gives the folders that the file is searched in, how the contrast reads, and the most
        stimuli, which are sampled as whole passages (or taken from the beginning of the file).

    Raises
    ------
    TaskError
        If the file is not usable, or has too few passages for its folds.
    pydantic.ValidationError
        If the options are not valid; the caller adds file and line.
    """
    stated = Options.model_validate(dict(options))
    if stated.pool and context.read.pool == "none":
        raise TaskError(
            f"task {NAME!r}: the contrast reads every position as a unit (pool: none), which "
            f"pool: {stated.pool} cannot select from; leave `pool:` out"
        )
    shown = next((s for group in context.localizing.values() for s in group), None)
    if shown is not None and not isinstance(shown.content, str):
        raise TaskError(
            f"task {NAME!r} reads texts, and the stimuli of this contrast are images; leave it out"
        )
    responses = load(stated, context)
    how = context.read
    readout = Readout(how.sites, stated.pool or how.pool, "signed", how.tokens, how.max_tokens)
    return BrainAlignment(responses, stated, readout)
