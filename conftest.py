"""Type checks under test that cost little: shapes are looked at only where there are any.

``--jaxtyping-packages`` puts ``jaxtyping.jaxtyped`` around every function of the package. It binds
the arguments and checks them twice, which takes ten times as long as beartype alone and is needed
only where axes of arrays have names to compare. `jaxtyped` here is put in its place: every function
is still checked, those without an array in the signature by beartype alone, the others once.
"""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from typing import Any, ForwardRef, Literal, get_args, get_origin

import jaxtyping

Decorator = Callable[[Any], Any]

in_full = jaxtyping.jaxtyped


def jaxtyped(*, typechecker: Decorator) -> Decorator:
    """Return the decorator that the import hook puts around a function or class."""

    def decorate(thing: Any) -> Any:
        if inspect.isclass(thing):
            if is_dataclass(thing) and "__init__" in vars(thing):
                thing.__init__ = decorate(thing.__init__)  # type: ignore[misc]
            return thing
        if not inspect.isfunction(thing) or inspect.isgeneratorfunction(thing):
            return in_full(thing, typechecker=typechecker)
        parts = [part for whole in thing.__annotations__.values() for part in parts_of(whole)]
        if any(isinstance(part, str | ForwardRef) for part in parts):
            return in_full(thing, typechecker=typechecker)
        shapes = any(
            inspect.isclass(part) and issubclass(part, jaxtyping.AbstractArray) for part in parts
        )
        checked = typechecker(thing)
        return in_full(checked, typechecker=None) if shapes else checked

    return decorate


def parts_of(annotation: object) -> Iterator[object]:
    """Yield an annotation and all that it is made of."""
    yield annotation
    if get_origin(annotation) is not Literal:
        for part in annotation if isinstance(annotation, list) else get_args(annotation):
            yield from parts_of(part)


jaxtyping.jaxtyped = jaxtyped
