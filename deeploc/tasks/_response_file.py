"""The file of measured responses that a contrast names: options, search, ceilings, limit."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import nan
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from jaxtyping import Float64
from pydantic import Discriminator, Field, Tag, model_validator

from deeploc.contrast.validation import (
    NUMBER_TAG,
    TEXT_TAG,
    Number,
    StrictModel,
    Text,
    Texts,
    Whole,
)
from deeploc.core.task import TaskContext
from deeploc.errors import ContrastError, TaskError, nearest
from deeploc.stimuli.sampling import substream
from deeploc.stimuli.stimulus import cell
from deeploc.stimuli.tables import SUFFIXES as TABLES
from deeploc.stimuli.tables import find, read

from ._response_arrays import SUFFIXES, read_array
from ._responses import Columns, Responses, checked_ceiling, number_in, read_table

NAME = "brain-alignment"

_ALPHAS = tuple(10.0**exponent for exponent in range(-2, 9))

_PER_FOLD = 2
"""Fewest stimuli of a fold that ``--limit`` leaves: of one alone there is no correlation."""


def _form(value: Any) -> str:
    return NUMBER_TAG if isinstance(value, int | float) else TEXT_TAG


_Ceiling = Annotated[
    Annotated[Number, Field(gt=0, le=1), Tag(NUMBER_TAG)] | Annotated[Text, Tag(TEXT_TAG)],
    Discriminator(_form),
]


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
    ceiling: _Ceiling | None = None
    """The noise ceiling: one number, the column that holds that of each response, or a table with
    the columns response and ceiling."""
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


def load(options: Options, context: TaskContext) -> Responses:
    """Return the responses that the options name, at most as many as the run allows.

    Parameters
    ----------
    options
        What the contrast file says.
    context
        Gives the folders that files are searched in, and the limit: so many stimuli in whole
        passages, or from the beginning of the file, and enough for every fold.

    Raises
    ------
    TaskError
        If a file is not usable, or has too few passages for the folds.
    """
    path = _found(options.responses, context)
    responses = _read(path, options, context)
    _check_size(responses, options.folds, path)
    if not np.isfinite(responses.values).any():
        raise TaskError(f"{path}: every response is missing; name their columns with `value:`")
    return _limited(responses, options.folds, context)


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


def _read(path: Path, options: Options, context: TaskContext) -> Responses:
    ceiling = options.ceiling
    column = ceiling if isinstance(ceiling, str) and not _is_table(ceiling) else None
    columns = Columns(options.stimulus, options.group, options.value, options.response, column)
    reader = read_array if path.suffix.lower() in SUFFIXES else read_table
    try:
        responses = reader(path, columns).in_order()
        if ceiling is None or column is not None:
            return responses
        return replace(responses, ceilings=_ceilings(ceiling, responses, context))
    except ContrastError as error:
        raise TaskError(str(error)) from None


def _is_table(name: str) -> bool:
    return Path(name).suffix.lower() in TABLES


def _ceilings(
    ceiling: float | str, responses: Responses, context: TaskContext
) -> Float64[np.ndarray, " response"]:
    """Return the ceiling of every response: one number, or those of a table."""
    if isinstance(ceiling, str):
        return _listed(_found(ceiling, context), responses.names)
    return np.full(len(responses.names), checked_ceiling(ceiling, "ceiling"))


def _listed(path: Path, names: Sequence[str]) -> Float64[np.ndarray, " response"]:
    """Return the noise ceiling of every response from a table of them; nan where it has none."""
    found = dict.fromkeys(names, nan)
    for row in read(path):
        name = cell(row, "response").strip()
        if name not in found:
            raise TaskError(
                f"{row.id}: there is no response {name!r}; {nearest(name, names)}there are: "
                f"{', '.join(names[:10])}"
            )
        found[name] = checked_ceiling(number_in(row, "ceiling"), row.id)
    return np.array(list(found.values()))


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
