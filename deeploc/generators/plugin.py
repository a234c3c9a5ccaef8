"""Generators that are plugins: from one function to a stream of records with checked options."""

import inspect
import math
import numbers
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import PurePath
from typing import Any, Literal, NamedTuple, Protocol, get_args, get_origin, runtime_checkable

from deeploc.entry_points import Plugin
from deeploc.errors import PluginError, described

_TYPES = (str, int, float, bool)


@runtime_checkable
class MakesStimuli(Protocol):
    """A plugin of the group ``generators``: a seeded stream of stimuli.

    Its keyword arguments are the options that a contrast file may set; each has a default, which
    decides its type, and may be annotated ``Literal[...]`` where it is one of several.
    """

    def __call__(self, seed: int, /) -> Iterable[str | Mapping[str, Any]]:
        """Yield different stimuli; equal seeds must give equal ones, in one order.

        A stimulus is a text, or a mapping of column to value: ``{"text": ...}``, or ``{"image":
        ...}`` with the absolute path of a file. The stream may be endless.

        Parameters
        ----------
        seed
            Chooses the stream.
        """
        ...


class Declared(NamedTuple):
    """What the signature of a generator says: the default of every option, and its choices."""

    options: Mapping[str, Any]
    choices: Mapping[str, tuple[str, ...]]


def declared(plugin: Plugin) -> Declared:
    """Return the options of a plugin, as its signature declares them.

    Parameters
    ----------
    plugin
        One of the group ``generators``.

    Raises
    ------
    PluginError
        If it cannot be loaded, takes no seed, or has an option without a default.
    """
    function: Callable[..., Any] = plugin.load()
    parameters = list(inspect.signature(function).parameters.values())
    if not parameters or parameters[0].default is not inspect.Parameter.empty:
        raise PluginError(f"{plugin.title} takes no seed; its first parameter must be `seed`")
    options = {parameter.name: parameter for parameter in parameters[1:]}
    for name, parameter in options.items():
        if type(parameter.default) not in _TYPES:
            raise PluginError(
                f"{plugin.title}: option {name!r} needs a default that is text, a number or a "
                f"boolean; write e.g. `{name}=5`"
            )
    literal = {n: p.annotation for n, p in options.items() if get_origin(p.annotation) is Literal}
    choices = {name: get_args(annotation) for name, annotation in literal.items()}
    return Declared({name: p.default for name, p in options.items()}, choices)


def stream(plugin: Plugin, seed: int, options: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Yield the records of a plugin.

    Parameters
    ----------
    plugin
        One of the group ``generators``.
    seed
        Chooses the stream.
    options
        The value of every option.

    Raises
    ------
    PluginError
        If it fails, or yields anything but texts and mappings.
    """
    function: MakesStimuli = plugin.load()
    with plugin.guarded():
        stimuli = function(seed, **options)
    if isinstance(stimuli, str | Mapping) or not isinstance(stimuli, Iterable):
        raise plugin.wrong(stimuli, "an iterable of texts; write `yield text` in it")
    with plugin.guarded():
        for made in stimuli:
            if isinstance(made, str):
                yield {"text": made}
            elif isinstance(made, Mapping) and made and all(map(_is_plain, made.values())):
                yield {str(column): str(value) for column, value in made.items()}
            else:
                raise PluginError(
                    f"{plugin.title} yielded {described(made)}; it must yield texts, or mappings "
                    'to texts and finite numbers such as {"text": "a b c", "label": 1}'
                )


def _is_plain(value: Any) -> bool:
    """Return whether a value can be written as text and means the same then."""
    if isinstance(value, numbers.Real):  # those of NumPy, too
        return math.isfinite(value)
    return isinstance(value, str | PurePath)
