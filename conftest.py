"""Type checks under test that cost little: shapes are looked at only where there are any.

``--jaxtyping-packages`` puts ``jaxtyping.jaxtyped`` around every function of the package. It binds
the arguments and checks them twice, which takes ten times as long as beartype alone and is needed
only where axes of arrays have names to compare. `jaxtyped` here is put in its place: every function
is still checked, those without an array in the signature by beartype alone.
"""

import inspect
from collections.abc import Callable
from dataclasses import is_dataclass
from typing import Any, ForwardRef, Literal, get_args, get_origin

import jaxtyping

Decorator = Callable[[Any], Any]

with_shapes = jaxtyping.jaxtyped


def has_shapes(annotation: object) -> bool:
    """Return whether an annotation holds an array with axes, or what cannot be looked into."""
    if isinstance(annotation, str | ForwardRef):
        return True
    if inspect.isclass(annotation) and issubclass(annotation, jaxtyping.AbstractArray):
        return True
    if get_origin(annotation) is Literal:
        return False
    parts = annotation if isinstance(annotation, list) else get_args(annotation)
    return any(map(has_shapes, parts))


def jaxtyped(*, typechecker: Decorator) -> Decorator:
    """Return the decorator that the import hook puts around a function or class."""

    def decorate(thing: Any) -> Any:
        if inspect.isclass(thing):
            if is_dataclass(thing) and "__init__" in vars(thing):
                thing.__init__ = decorate(thing.__init__)  # type: ignore[misc]
            return thing
        if inspect.isfunction(thing) and not any(map(has_shapes, thing.__annotations__.values())):
            return typechecker(thing)
        return with_shapes(thing, typechecker=typechecker)

    return decorate


jaxtyping.jaxtyped = jaxtyped
