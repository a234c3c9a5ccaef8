"""Brain alignment: how well the activations of units predict measured responses to texts."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from jaxtyping import Float, Float64
from pydantic import Field, model_validator

from deeploc.contrast.validation import Number, StrictModel, Text, Texts, Whole
from deeploc.core.readout import Readout
from deeploc.core.results import Better, Measurement
from deeploc.core.task import Reading, TaskContext
from deeploc.core.units import Layout
from deeploc.errors import ContrastError, TaskError
from deeploc.stimuli import Stimulus
from deeploc.stimuli.sampling import substream
from deeploc.stimuli.tables import find

from ._encoding import Folds, Shares, correlation, explained, folds_of_blocks, folds_of_groups
from ._encoding import held_out as predicted_held_out
from ._response_arrays import SUFFIXES, read_array
from ._responses import Columns, Responses, checked_ceiling, read_table

NAME = "brain-alignment"

ALL = "all"
"""The condition of the mean over all responses; ``all/NAME`` is one of them."""

MAX_SHOWN = 20
"""Up to so many responses are reported one by one."""

_ALPHAS = tuple(10.0**exponent for exponent in range(-2, 9))

_PER_FOLD = 2
"""Fewest stimuli of a fold that ``--limit`` leaves: of one alone there is no correlation."""


class Options(StrictModel):
    """What a contrast file says below ``brain-alignment``."""

    responses: Text
    """The file of responses: csv, tsv, jsonl, parquet or netCDF; in --stimuli DIR if it is there,
    else below the folder of the contrast file."""
    stimulus: Text = "stimulus"
    """The column of the texts."""
    group: Text | None = None
    """The column that says which passage a text is of; default: passage, if there is one."""
    value: Texts | None = None
    """The column, or columns, of responses; default: value, else all other columns."""
    response: Texts | None = None
    """The columns that tell responses apart in a long table; default: subject, region, neuroid."""
    ceiling: Annotated[Number, Field(gt=0, le=1)] | Text | None = None
    """The noise ceiling: one number, or the column that holds that of each response."""
    folds: Annotated[Whole, Field(ge=2)] = 5
    """How many folds."""
    alpha: Annotated[tuple[Annotated[Number, Field(gt=0)], ...], Field(min_length=1)] = _ALPHAS
    """Penalties that the regression chooses from, on training stimuli alone."""
    pool: Literal["last", "mean", "max", "cls"] | None = None
    """How tokens become one number; default: as the contrast reads."""

    @model_validator(mode="before")
    @classmethod
    def _one_alpha(cls, data: Any) -> Any:
        alpha = data.get("alpha") if isinstance(data, Mapping) else None
        return {**data, "alpha": [alpha]} if isinstance(alpha, int | float) else data


class BrainAlignment:
    """How well units predict measured responses: Pearson's r and R² of ridge regression.

    The responses to every passage are predicted from the activations of the units, by a regression
    on the other passages (`deeploc.tasks._encoding`). ``r`` is the mean over folds and responses;
    ``r-normalized``, where ceilings are given, that of r divided by the ceiling of the response;
    ``r2`` the mean over responses of the explained part of the squared error. ``r-length`` is r of
    what the length of a text in words and characters predicts in the same folds: no unit is needed
    for it, so it is the same for every mask. Items are passages, or stimuli where these are not
    known.

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
        self.metrics: Mapping[str, Better] = {"r": "higher", "r2": "higher", "r-length": "higher"}
        if responses.ceilings is not None:
            self.metrics = {**self.metrics, "r-normalized": "higher"}

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
        held = predicted_held_out(
            activations, self._responses.values, self._folds, self._options.alpha
        )
        r = correlation(held)
        shares = {"r": r, "r2": explained(held)}
        if self._responses.ceilings is not None:
            shares["r-normalized"] = r.over(self._responses.ceilings)
        if not r.weights.any():
            raise TaskError(
                f"task {NAME!r}: no response varies within a fold, so nothing can be correlated; "
                "give more texts, or fewer folds"
            )
        made = [each for metric, own in shares.items() for each in self._measurements(metric, own)]
        return [*made, self._of_length]

    @cached_property
    def _of_length(self) -> Measurement:
        """What the lengths of the texts alone predict."""
        responses = self._responses
        lengths = np.array([[len(text.split()), len(text)] for text in responses.texts], float)
        held = predicted_held_out(lengths, responses.values, self._folds, self._options.alpha)
        return self._measurement("r-length", ALL, correlation(held).mean())

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
    path = _found(stated.responses, context)
    responses = _read(path, stated)
    _check_size(responses, stated.folds, path)
    if not np.isfinite(responses.values).any():
        raise TaskError(f"{path}: every response is missing; name their columns with `value:`")
    how = context.read
    readout = Readout(how.sites, stated.pool or how.pool, "signed", how.tokens, how.max_tokens)
    return BrainAlignment(_limited(responses, stated.folds, context), stated, readout)


def _check_size(responses: Responses, n_folds: int, path: Path) -> None:
    """Refuse fewer passages than folds, or fewer texts than blocks of two."""
    grouped = responses.groups is not None
    n = len(set(responses.groups or responses.texts))
    needed = n_folds if grouped else _PER_FOLD * n_folds
    if n < needed:
        what = "passages" if grouped else "texts"
        raise TaskError(
            f"{path}: {n} {what}, and {n_folds} folds need at least {needed}; lower `folds:`, or "
            "give more responses"
        )


def _found(pattern: str, context: TaskContext) -> Path:
    """Return the file, in the folder of the user if it is there."""
    roots = [root for root in (context.folder, context.base) if root is not None]
    for number, root in enumerate(roots, start=1):
        try:
            found = find([pattern], root)
        except ContrastError as error:
            if number < len(roots):
                continue
            raise TaskError(f"task {NAME!r}: {error}") from None
        if len(found) > 1:
            names = ", ".join(path.name for path in found[:3])
            raise TaskError(f"task {NAME!r}: {pattern!r} names several files: {names}; name one")
        return found[0]
    raise AssertionError


def _read(path: Path, options: Options) -> Responses:
    ceiling = options.ceiling if isinstance(options.ceiling, str) else None
    columns = Columns(options.stimulus, options.group, options.value, options.response, ceiling)
    reader = read_array if path.suffix.lower() in SUFFIXES else read_table
    try:
        responses = reader(path, columns).in_order()
    except ContrastError as error:
        raise TaskError(str(error)) from None
    if options.ceiling is None or ceiling is not None:
        return responses
    same: Float64[np.ndarray, " response"] = np.full(
        len(responses.names), checked_ceiling(float(options.ceiling), "ceiling")
    )
    return Responses(**{**vars(responses), "ceilings": same})


def _limited(responses: Responses, n_folds: int, context: TaskContext) -> Responses:
    """Return about as many stimuli as the run allows, in whole passages, enough for every fold."""
    if context.limit is None or context.limit >= len(responses.texts):
        return responses
    most = max(context.limit, _PER_FOLD * n_folds)
    if responses.groups is None:
        return responses.only(range(most))
    sizes = Counter(responses.groups)
    names = substream(context.seed, f"sample:{NAME}").permutation(sorted(sizes)).tolist()
    kept: set[str] = set()
    for name in names:
        if len(kept) >= n_folds and sum(sizes[each] for each in kept) + sizes[name] > most:
            break
        kept.add(name)
    return responses.only([row for row, name in enumerate(responses.groups) if name in kept])
