"""What is known of a model before its weights are read."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from deeploc.core.model_options import ModelOptions


@dataclass(frozen=True)
class Outline:
    """The size of a model.

    Parameters
    ----------
    parameters
        How many numbers its weights are.
    bytes
        How much memory they take as they would be loaded.
    """

    parameters: int
    bytes: int


@runtime_checkable
class OutlinesModel(Protocol):
    """Optional ability of a plugin of the group ``adapters``: the size of a model, not loaded."""

    def outline(self, name: str, options: ModelOptions, /) -> Outline:
        """Return the size of a model from what describes it, without its weights.

        Parameters
        ----------
        name
            What stands after the colon of the address ``ADAPTER:NAME``.
        options
            How it would be loaded.
        """
        ...
