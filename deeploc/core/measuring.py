"""Prepare and measure several tasks at once: texts in one call, no activation read twice.

To prepare tasks on the intact model and to measure them in one cell of an evaluation, a caller
writes

    prepare_all(adapter, tasks, recall)
    measurements = measure_all(adapter, tasks, recall)

where ``recall`` serves activations of the intact model that are known already; it is left out
while the model is ablated.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import chain

import numpy as np
from jaxtyping import Float, Float64

from deeploc.core.adapter import Adapter, ScoresText, TextRequest, TextScore
from deeploc.core.adapter_plugins import checked_batches, scored
from deeploc.core.results import Measurement
from deeploc.core.task import Reading, ReadsActivations, RequestsScores, Task, require
from deeploc.core.task_plugins import checked, guarded

Recall = Callable[[Reading], Float[np.ndarray, "stimulus unit"] | None]
"""Return the activations of a reading where they are known, else ``None``."""


def nothing_known(reading: Reading) -> None:
    """Return ``None``: the `Recall` that makes every reading go through the adapter."""
    del reading


def prepare_all(adapter: Adapter, tasks: Sequence[Task], recall: Recall = nothing_known) -> None:
    """Prepare tasks on the intact model.

    Parameters
    ----------
    adapter
        The intact model.
    tasks
        The tasks, in the order in which they are prepared.
    recall
        Activations of the intact model that are known; by default none.

    Raises
    ------
    TaskError
        If a task cannot be measured on this model.
    """
    for task in tasks:
        with guarded(task):
            if isinstance(task, ReadsActivations):
                task.learn(_activations(adapter, task.training(adapter), recall))
            else:
                task.prepare(adapter)


def measure_all(
    adapter: Adapter, tasks: Sequence[Task], recall: Recall = nothing_known
) -> list[tuple[str, Measurement]]:
    """Return every measurement of the model as it is now, with the name of its task.

    All tasks that are `RequestsScores` share one call of ``adapter.score``, in which requests
    that are equal are scored once. Scores differ from those of a call per task by rounding only:
    batches are composed differently.

    Parameters
    ----------
    adapter
        The model, intact or ablated.
    tasks
        Prepared tasks; measurements are in their order.
    recall
        Activations that are known of the model as it is now; by default none.

    Raises
    ------
    TaskError
        If a task is not prepared or cannot be measured.
    PluginError
        If what the task of a plugin returns is no measurement, see `task_plugins.checked`.
    """
    scoring = [task for task in tasks if isinstance(task, RequestsScores)]
    requests = chain.from_iterable(task.requests for task in scoring)
    scores = score_once(adapter, requests, scoring[0].name) if scoring else {}
    measurements = []
    for task in tasks:
        with guarded(task):
            if isinstance(task, RequestsScores):
                measured = task.measure_scores(scores)
            elif isinstance(task, ReadsActivations):
                measured = task.measure_activations(
                    _activations(adapter, task.testing(adapter), recall)
                )
            else:
                measured = task.measure(adapter)
        measurements += [(task.name, measurement) for measurement in checked(task, measured)]
    return measurements


def score_once(
    adapter: Adapter, requests: Iterable[TextRequest], task: str
) -> dict[TextRequest, TextScore]:
    """Return the score of every distinct request, from one call of ``adapter.score``.

    Parameters
    ----------
    adapter
        The model, intact or ablated.
    requests
        What to score; equal requests are scored once.
    task
        Name of the task that needs the scores, for messages.

    Raises
    ------
    TaskError
        If the adapter does not score texts.
    """
    distinct = list(dict.fromkeys(requests))
    scores = require(adapter, ScoresText, task).score(distinct)
    return dict(zip(distinct, scored(adapter, scores, len(distinct)), strict=True))


def read(adapter: Adapter, reading: Reading) -> Float64[np.ndarray, "stimulus unit"]:
    """Return the activations of a reading, read from the model as it is now.

    Parameters
    ----------
    adapter
        The model, intact or ablated.
    reading
        What to read; rows are in the order of its stimuli, columns in that of its layout.

    Raises
    ------
    AdapterError
        If the adapter cannot read the stimuli.
    """
    values = np.full((len(reading.stimuli), reading.layout.n_units), np.nan)
    for batch in checked_batches(adapter, reading.stimuli, reading.layout, reading.readout):
        values[batch.indices] = batch.values
    return values


def _activations(
    adapter: Adapter, reading: Reading, recall: Recall
) -> Float[np.ndarray, "stimulus unit"]:
    known = recall(reading)
    return read(adapter, reading) if known is None else known
