"""Adapters that are plugins: what they say of themselves, and what they return, checked.

That they keep their promises is for the conformance kit (`deeploc.testing`) to tell; what is
checked here costs nothing and would end in a traceback, or in wrong numbers.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, runtime_checkable

import numpy as np

from deeploc.core.ablation import Edit
from deeploc.core.adapter import Adapter, Batch, TextScore
from deeploc.core.json_values import not_json
from deeploc.core.readout import Readout
from deeploc.core.units import Layout
from deeploc.errors import PluginError, wrong
from deeploc.plugin import Plugin, maker_of
from deeploc.stimuli import Stimulus


@runtime_checkable
class ActivationSource(Protocol):
    """Anything that activations are read from: an adapter, or `Readings` of one."""

    def activations(
        self, stimuli: Sequence[Stimulus], layout: Layout, readout: Readout
    ) -> Iterator[Batch]:
        """Yield the activations of every stimulus once, pooled, in batches of any order.

        Parameters
        ----------
        stimuli
            What the model is shown.
        layout
            The sites that are read.
        readout
            How positions become one number.
        """
        ...


def check_adapter(adapter: Any, plugin: Plugin) -> None:
    """Refuse what a plugin returned where it is no adapter, or does not say what it is.

    Parameters
    ----------
    adapter
        What the plugin returned.
    plugin
        One of the group ``adapters``.

    Raises
    ------
    PluginError
        If it lacks a part of `Adapter`, its identity is no JSON or lacks what it must hold, or its
        sites are no layout of at least one.
    """
    with plugin.guarded():  # its parts may be properties
        is_adapter = isinstance(adapter, Adapter)
    if not is_adapter:
        raise plugin.wrong(adapter, "an adapter, e.g. deeploc.wrap(module, preprocess=...)")
    if type(adapter).__module__.partition(".")[0] == "deeploc":
        return  # wrap has checked it, and to hash its weights may take long
    with plugin.guarded():
        identity, sites = adapter.identity, adapter.sites
    told = f"`identity` of {plugin.title}"
    if not isinstance(identity, Mapping) or not {"model", "weights"} <= set(identity):
        right = 'a mapping with "model" (a name) and "weights" (a hash of their content)'
        raise wrong(told, identity, right)
    if part := not_json(identity):
        raise PluginError(
            f"{told} is no JSON: {part}; use text, finite numbers of Python, booleans, lists and "
            "dictionaries"
        )
    if not isinstance(sites, Layout) or not sites.sites:
        right = "a Layout of at least one Site (deeploc.core.units)"
        raise wrong(f"`sites` of {plugin.title}", sites, right)


def checked_batches(
    adapter: ActivationSource, stimuli: Sequence[Stimulus], layout: Layout, readout: Readout
) -> Iterator[Batch]:
    """Yield the activations of every stimulus, as `Adapter.activations` does, each batch checked.

    Parameters
    ----------
    adapter
        The model.
    stimuli
        What it is shown.
    layout
        The sites that are read.
    readout
        How positions become one number.

    Raises
    ------
    PluginError
        If a batch has not the shape (stimulus, unit), or a stimulus is left out or read twice.
    """
    made: Any = adapter.activations(stimuli, layout, readout)
    right = "batches (deeploc.core.adapter.Batch), e.g. by `yield Batch(indices, values)`"
    if not isinstance(made, Iterable):
        raise wrong(f"`activations` of {title_of(adapter)}", made, right)
    n_read = np.zeros(len(stimuli), dtype=np.int64)
    for batch in made:
        if not isinstance(batch, Batch):
            raise wrong(f"`activations` of {title_of(adapter)}", batch, right)
        _count(n_read, batch, layout.n_units, adapter)
        yield batch
    if other := int((n_read != 1).sum()):
        raise PluginError(
            f"`activations` of {title_of(adapter)} left out or repeated {other:,} of "
            f"{len(stimuli):,} stimuli; it must yield each once"
        )


def _count(n_read: np.ndarray, batch: Batch, n_units: int, adapter: object) -> None:
    """Count the stimuli of a batch, refused where it does not fit them."""
    indices, values = np.asarray(batch.indices), batch.values
    if indices.ndim != 1 or indices.dtype.kind not in "iu" or not _are_within(indices, n_read):
        right = (
            f"the numbers of the stimuli, whole numbers from 0 to {len(n_read) - 1}: (stimulus,)"
        )
        raise wrong(f"`activations` of {title_of(adapter)}, as indices,", batch.indices, right)
    shape = (len(indices), n_units)
    if not isinstance(values, np.ndarray) or values.shape != shape or values.dtype.kind != "f":
        right = f"an array of floats (stimulus, unit) = {shape}"
        raise wrong(f"`activations` of {title_of(adapter)}, as values,", values, right)
    np.add.at(n_read, indices, 1)


def _are_within(indices: np.ndarray, n_read: np.ndarray) -> bool:
    return bool((indices >= 0).all() and (indices < len(n_read)).all())


def edited(adapter: Adapter, edit: Edit) -> AbstractContextManager[None]:
    """Return the context in which an edit is applied, as `Adapter.ablated` does, checked.

    Parameters
    ----------
    adapter
        The model.
    edit
        What is done to its units.

    Raises
    ------
    PluginError
        If it is no context manager.
    """
    made = adapter.ablated(edit)
    if not isinstance(made, AbstractContextManager):
        right = "a context manager; write `@contextmanager` before it and `yield` in it"
        raise wrong(f"`ablated` of {title_of(adapter)}", made, right)
    return made


def scored(adapter: object, scores: Any, n: int) -> list[TextScore]:
    """Return the scores of ``n`` requests, refused where there is not one of each.

    Parameters
    ----------
    adapter
        The model.
    scores
        What `ScoresText.score` returned.
    n
        How many requests it was given.

    Raises
    ------
    PluginError
        If it is no list of as many scores.
    """
    are = isinstance(scores, list | tuple) and all(isinstance(s, TextScore) for s in scores)
    if not are or len(scores) != n:
        right = f"a list of {n:,} TextScore (deeploc.core.adapter), one per request"
        raise wrong(f"`score` of {title_of(adapter)}", scores, right)
    return list(scores)


def continued(adapter: object, text: Any) -> str:
    """Return a continuation, refused where it is no text.

    Parameters
    ----------
    adapter
        The model.
    text
        What `Generates.generate` returned.

    Raises
    ------
    PluginError
        If it is no text.
    """
    if not isinstance(text, str):
        raise wrong(f"`generate` of {title_of(adapter)}", text, "text, without the prompt")
    return text


def how_to_add(adapter: Adapter) -> str:
    """Return where it is written how a model gets an ability; empty for models of others.

    Parameters
    ----------
    adapter
        The model that lacks an ability.
    """
    plugin = maker_of(adapter)
    is_own = plugin is None or not plugin.is_own or adapter.identity.get("adapter") == "torch"
    return ", or add the ability to your adapter (docs/plugins.md)" if is_own else ""


def title_of(adapter: object) -> str:
    """Return what messages call an adapter: the plugin that made it, if one did.

    Parameters
    ----------
    adapter
        Any adapter.
    """
    plugin = maker_of(adapter)
    return plugin.title if plugin else f"the adapter {type(adapter).__name__}"
