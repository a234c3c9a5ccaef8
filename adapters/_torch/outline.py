"""The size of a model whose weights are not read: its modules on the device ``meta``."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import nn

from deeploc.core.adapter import ModelOptions
from deeploc.core.outline import Outline

from .device import resolved_device, resolved_dtype

Load = TypeVar("Load", bound=Callable[..., Any])
Outlines = Callable[[str, ModelOptions], Outline]


def outlined_by(outline: Outlines) -> Callable[[Load], Load]:
    """Give a function that loads models the ability `deeploc.core.outline.OutlinesModel`.

    Parameters
    ----------
    outline
        Returns the size of a model.
    """

    def decorate(load: Load) -> Load:
        load.__dict__["outline"] = outline
        return load

    return decorate


def outline_of(make: Callable[[], nn.Module], options: ModelOptions) -> Outline:
    """Return the size of a model.

    Parameters
    ----------
    make
        Makes its modules; they hold no numbers.
    options
        How it would be loaded: on which device, in which precision.
    """
    with torch.device("meta"):
        model = make()
    dtype = resolved_dtype(options.dtype, resolved_device(options.device))
    sizes = [(weight.numel(), (dtype or weight.dtype).itemsize) for weight in model.parameters()]
    return Outline(sum(n for n, _ in sizes), sum(n * size for n, size in sizes))
