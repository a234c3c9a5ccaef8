"""Tasks that are plugins: what they are, what they raise, and what they measured, checked."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, get_args

import numpy as np

from deeploc.core.json_values import not_json
from deeploc.core.results import Better, Measurement
from deeploc.core.unit_task import AnyTask
from deeploc.errors import PluginError, described, nearest, wrong
from deeploc.plugin import Plugin, check_takes, maker_of

_ON_MODELS = {"prepare": "adapter", "measure": "adapter"}
_ON_UNITS = {"reading": "layout", "measure_units": "activations"}
"""Methods of a `Task` and of a `UnitTask` -> what each takes."""


def check_task(task: Any, plugin: Plugin) -> None:
    """Refuse what a plugin made, where it is no task of the plugin's name.

    Parameters
    ----------
    task
        What the plugin returned.
    plugin
        One of the group ``tasks``.

    Raises
    ------
    PluginError
        If it lacks a part of `Task` or `UnitTask`, is called otherwise, declares no metrics, its
        identity is no JSON, or its methods take other arguments.
    """
    with plugin.guarded():  # its parts may be properties
        methods = _ON_UNITS if hasattr(task, "measure_units") else _ON_MODELS
        parts = ("name", "metrics", "identity", *methods)
        lacking = [part for part in parts if not hasattr(task, part)]
    if lacking:
        raise PluginError(
            f"{plugin.title} returned {described(task)}, which has no {lacking[0]!r}; it must "
            "return a task (deeploc.core.task.Task)"
        )
    with plugin.guarded():
        name, metrics, identity = task.name, task.metrics, task.identity
    if name != plugin.name:
        raise PluginError(
            f"{plugin.title} returned a task called {name!r}; give it the name of the plugin"
        )
    if not _are_metrics(metrics):
        right = 'a mapping of each metric to "higher" or "lower", e.g. {"accuracy": "higher"}'
        raise wrong(f"`metrics` of {plugin.title}", metrics, right)
    if not isinstance(identity, Mapping):
        raise wrong(f"`identity` of {plugin.title}", identity, "a mapping of JSON values")
    if part := not_json(identity):
        raise PluginError(
            f"`identity` of {plugin.title} is no JSON: {part}; use text, finite numbers of Python, "
            "booleans, lists and dictionaries, e.g. int(n) and list(array)"
        )
    for method, argument in methods.items():
        check_takes(getattr(task, method), f"`{method}` of {plugin.title}", argument)


@contextmanager
def guarded(task: AnyTask) -> Iterator[None]:
    """Turn an exception of a plugin's task into one line.

    Parameters
    ----------
    task
        Any task; one that was handed over is not guarded.

    Raises
    ------
    PluginError
        See `Plugin.guarded`.
    """
    plugin = maker_of(task)
    if plugin is None:
        yield
        return
    with plugin.guarded():
        yield


def checked(task: AnyTask, measured: Any) -> list[Measurement]:
    """Return what a task measured, refused where it is no list of what it declares.

    Parameters
    ----------
    task
        The task.
    measured
        What it returned.

    Raises
    ------
    PluginError
        If these are no measurements, of metrics that the task does not declare, twice of one
        outcome, or without one amount and one weight for every item.
    """
    title, right = title_of(task), "a list of Measurement (deeploc.core.results), at least one"
    if isinstance(measured, str | Mapping) or not isinstance(measured, Iterable):
        raise wrong(title, measured, right)
    with guarded(task):  # it may be a generator
        made = list(measured)
    if not made or not all(isinstance(each, Measurement) for each in made):
        raise wrong(title, made, right)
    outcomes = [(each.metric, each.condition) for each in made]
    for number, (metric, condition) in enumerate(outcomes):
        if metric not in task.metrics:
            raise PluginError(
                f"{title} returned the metric {metric!r}, which it does not declare; "
                f"{nearest(str(metric), task.metrics)}its `metrics`: {', '.join(task.metrics)}"
            )
        if not isinstance(condition, str):
            raise wrong(f"{title}, for {metric}", condition, "the name of a condition")
        if (metric, condition) in outcomes[:number]:
            raise PluginError(
                f"{title} returned {metric} of {condition!r} twice; it must return one Measurement "
                "of each, with all items"
            )
    return [_numeric(each, title) for each in made]


def check_intact(measurements: Sequence[tuple[AnyTask, Measurement]]) -> None:
    """Refuse what cannot be a result of an intact model: items without a finite number.

    An ablation may leave a model that returns nothing finite; one that is intact does not, unless
    it, or the task, is wrong. Tasks of deeploc pass: that their outcomes are not finite is said by
    the verdict.

    Parameters
    ----------
    measurements
        Tasks and what they measured on the intact model.

    Raises
    ------
    PluginError
        If an amount or a weight is not finite, a weight is negative, or all of them are 0.
    """
    for task, each in measurements:
        if type(task).__module__.partition(".")[0] == "deeploc":
            continue
        n, where = len(each.amount), f"{each.metric} of {each.condition!r}"
        for name, values in (("amount", each.amount), ("weight", each.weight)):
            if wrong_ones := n - int(np.isfinite(values).sum()):
                raise PluginError(
                    f"{title_of(task)} returned {wrong_ones} of {n} {name}s of {where} that are "
                    "not finite, on the intact model; leave out items that cannot be measured"
                )
        if (each.weight < 0).any() or not each.weight.any():
            raise PluginError(
                f"{title_of(task)} returned weights of {where} that are negative or all 0; give "
                "every item a weight above 0, e.g. 1, or its number of tokens"
            )


def title_of(task: AnyTask) -> str:
    """Return what messages call a task: the plugin that made it, if one did.

    Parameters
    ----------
    task
        Any task.
    """
    plugin = maker_of(task)
    return plugin.title if plugin else f"task {task.name!r}"


def _are_metrics(metrics: Any) -> bool:
    if not isinstance(metrics, Mapping) or not metrics:
        return False
    return all(isinstance(n, str) and b in get_args(Better) for n, b in metrics.items())


def _numeric(measured: Measurement, title: str) -> Measurement:
    """Return a measurement whose amounts and weights are numbers, one of each per item."""
    amount, weight = _array(measured.amount), _array(measured.weight)
    where = f"{measured.metric} of {measured.condition!r}"
    if amount is None or weight is None or amount.ndim != 1 or amount.shape != weight.shape:
        shown = f"{described(measured.amount)} and weights {described(measured.weight)}"
        raise PluginError(
            f"{title} returned amounts {shown} for {where}; both must be arrays of numbers, one "
            "per item: (item,)"
        )
    if not amount.size:
        raise PluginError(f"{title} returned no item for {where}; it must measure at least one")
    if amount is measured.amount and weight is measured.weight:
        return measured
    return replace(measured, amount=amount, weight=weight)


def _array(values: Any) -> Any:
    """Return numbers as an array, unchanged where they are one; None: they are no numbers."""
    try:
        made = np.asarray(values)
    except Exception:  # what NumPy makes nothing of may raise anything
        return None
    if made.dtype.kind not in "fiub":
        return None
    return made if made.dtype.kind == "f" else made.astype(np.float64)
