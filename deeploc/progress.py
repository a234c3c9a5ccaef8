"""Who is told how long work goes on."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, runtime_checkable


@runtime_checkable
class Watch(Protocol):
    """Who is told how an experiment goes."""

    def note(self, text: str) -> None:
        """Hear one line."""
        ...

    def progress(self, label: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
        """Follow ``total`` steps of something long; the function takes the steps just done."""
        ...


class Silent:
    """A watch that tells nobody."""

    def note(self, text: str) -> None:
        """Say nothing."""

    def progress(
        self,
        label: str,  # noqa: ARG002
        total: int,  # noqa: ARG002
    ) -> AbstractContextManager[Callable[[int], None]]:
        """Count nothing."""
        return nullcontext(lambda _: None)
