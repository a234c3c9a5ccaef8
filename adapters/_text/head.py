"""Run the head of a language model at chosen positions only: it is a large share of a pass."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

Choose = Callable[[Tensor], Tensor]


@contextmanager
def head_at(model: Any, choose: Choose) -> Iterator[None]:
    """Give the head only some of the positions inside the context.

    A model whose head is no module of its own, or transforms its input first, computes more than
    it would need to; what is chosen is the same.

    Parameters
    ----------
    model
        A model of transformers.
    choose
        Returns the chosen part (batch, kept, unit) of hidden states (batch, position, unit).
    """
    head = model.get_output_embeddings()
    if head is None:
        yield
        return

    def before(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        # what some models call their output embeddings is their input embedding, which takes ids
        takes_states = bool(args) and args[0].is_floating_point()
        return (choose(args[0]), *args[1:]) if takes_states else None

    handle = head.register_forward_pre_hook(before)
    try:
        yield
    finally:
        handle.remove()
