"""Networks of images that take more of an image than pixels of one size.

Some take patches, with their mask and how many there are in a row and a column, or a number for
every colour. What the image processor makes of an image is then one vector, which becomes the
named arguments again when the network is called.
"""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from deeploc.errors import AdapterError

PIXELS = "pixel_values"
"""The argument of a network that takes nothing else."""

_MASK = "pixel_attention_mask"
"""1 at what is part of the image, 0 at patches that only fill up the tensor."""


@dataclass(frozen=True)
class Field:
    """One argument of the network, for one image.

    Parameters
    ----------
    name
        Of the argument.
    shape
        Its shape, without the axis of images.
    is_integer
        Whether it holds numbers of something, or a mask; else floats.
    """

    name: str
    shape: tuple[int, ...]
    is_integer: bool


@dataclass(frozen=True)
class Packing:
    """The arguments of a network, written one after the other into a vector.

    Parameters
    ----------
    fields
        In the order in which they are written.
    """

    fields: Sequence[Field]

    @classmethod
    def of(cls, made: Mapping[str, Any], module: nn.Module) -> "Packing | None":
        """Return how arguments are packed; ``None`` if the network is shown pixels alone.

        Parameters
        ----------
        made
            What the image processor makes of one image: name -> (1, ...).
        module
            The network.
        """
        takes = inspect.signature(module.forward).parameters
        fields = [
            Field(name, np.shape(values)[1:], np.asarray(values).dtype.kind in "biu")
            for name, values in made.items()
            if name in takes
        ]
        return None if not fields or [f.name for f in fields] == [PIXELS] else cls(fields)

    @property
    def has_mask(self) -> bool:
        """Whether the network is told which patches only fill up the tensor."""
        return any(field.name == _MASK for field in self.fields)

    def pack(self, made: Mapping[str, Any]) -> Float[np.ndarray, "1 number 1"]:
        """Return what was made of an image in one row, as an image of one colour.

        Parameters
        ----------
        made
            As for `of`.

        Raises
        ------
        AdapterError
            If its arrays have other shapes than those of other images, or patches fill it up.
        """
        for field in self.fields:
            shape = np.shape(made[field.name])[1:]
            if shape != field.shape:
                raise AdapterError(
                    f"{field.name} has shape {field.shape} for one image and {shape} for another; "
                    "let the image processor make one size"
                )
        if self.has_mask and not np.all(made[_MASK]):
            raise AdapterError("patches that are no part of the image fill up its input")
        flat = [np.ravel(made[field.name]).astype(np.float32) for field in self.fields]
        return np.concatenate(flat).reshape(1, -1, 1)

    def unpack(
        self, images: Float[Tensor, "image 1 1 number"], dtype: torch.dtype
    ) -> dict[str, Tensor]:
        """Return the arguments of a batch by name.

        Parameters
        ----------
        images
            A row per image.
        dtype
            Of the network's floats.
        """
        sizes = [prod(field.shape) for field in self.fields]
        parts = torch.split(images.flatten(1), sizes, dim=1)
        arguments = {}
        for field, part in zip(self.fields, parts, strict=True):
            values = part.reshape(len(images), *field.shape)
            arguments[field.name] = values.round().long() if field.is_integer else values.to(dtype)
        return arguments

    def attach(self, module: nn.Module) -> None:
        """Let a network take packed images, beside what it takes already.

        Parameters
        ----------
        module
            The network; a hook of it is added for good.
        """
        n_numbers = sum(prod(field.shape) for field in self.fields)

        def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if len(args) == 1 and tuple(args[0].shape[1:]) == (1, 1, n_numbers):
                dtype = next((p.dtype for p in module.parameters()), torch.float32)
                return (), {**kwargs, **self.unpack(args[0], dtype)}
            return None

        module.register_forward_pre_hook(before, with_kwargs=True)
