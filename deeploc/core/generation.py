"""What the checkpoint of a model says of how text is to be generated from it."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from deeploc.core.adapter import Sampling


@runtime_checkable
class HasGenerationSettings(Protocol):
    """Ability of language models whose checkpoint says how to generate, beside `Generates`."""

    def generation_settings(self, sampling: Sampling) -> Mapping[str, Any]:
        """Return what the checkpoint asks for and ``generate`` does not do, by name, as JSON.

        Parameters
        ----------
        sampling
            What ``generate`` does instead.
        """
        ...
