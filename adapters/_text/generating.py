"""What ``generate`` of transformers is called on, so that edits know stimulus and position."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutput

from deeploc.adapters._torch.passes import Continued

_Before = Callable[[Any, Any, dict[str, Any]], tuple[Any, dict[str, Any]] | None]
"""A hook that is called before a forward pass, with its arguments."""


class Generating:
    """A model of transformers as the harness generates from it: anything else is the model's.

    Of a causal model each pass is told at which position it begins, whatever cache the model has.
    An encoder-decoder is shown the whole of its texts in every pass: ``generate`` would run the
    encoder once, apart from the model, and the decoder on its last token alone, and an edit of
    either half needs passes of the whole.

    Parameters
    ----------
    model
        The model.
    has_encoder
        Whether it is an encoder-decoder.
    """

    def __init__(self, model: Any, *, has_encoder: bool) -> None:
        self._model = model
        self._has_encoder = has_encoder

    def __call__(self, *args: Any, **named: Any) -> Any:
        """Return what the model returns."""
        return self._model(*args, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def generate(self, *, input_ids: Tensor, **options: Any) -> Tensor:
        """Return what the model generates (text, token), a causal one with its prompts.

        Parameters
        ----------
        input_ids
            The prompts, (text, position), without padding.
        **options
            Of ``generate``; those that say what is cached do not count for an encoder-decoder.
        """
        continued = Continued(input_ids)
        if self._has_encoder:
            nothing = torch.zeros(*input_ids.shape, 1, device=input_ids.device)
            options |= {"use_cache": False, "encoder_outputs": BaseModelOutput(nothing)}
            return self._generated(_whole(input_ids), input_ids, options)
        with continued.followed():
            return self._generated(_counted(input_ids, continued), input_ids, options)

    def _generated(self, before: _Before, input_ids: Tensor, options: dict[str, Any]) -> Tensor:
        add = self._model.register_forward_pre_hook
        handle = add(before, with_kwargs=True, prepend=True)
        try:
            made: Tensor = self._model.generate(input_ids=input_ids, **options)
        finally:
            handle.remove()
        return made


def _whole(ids: Tensor) -> _Before:
    """Return a hook that shows the encoder its texts again."""

    def before(_: Any, args: Any, named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        kept = {key: value for key, value in named.items() if key != "encoder_outputs"}
        return args, {**kept, "input_ids": _per_row(ids, len(named["decoder_input_ids"]))}

    return before


def _counted(ids: Tensor, continued: Continued) -> _Before:
    """Return a hook that counts positions: the first pass shows the prompts, others a token."""
    end = 0

    def before(_: Any, __: Any, named: dict[str, Any]) -> None:
        nonlocal end
        n_rows, n_shown = named["input_ids"].shape
        if not end:
            continued.inputs = Continued(_per_row(ids, n_rows)).inputs
        continued.start = 0 if n_shown > end else end
        end = continued.start + n_shown

    return before


def _per_row(ids: Tensor, n_rows: int) -> Tensor:
    """Return a prompt for every row: a search has a row for every beam of a prompt."""
    return ids.repeat_interleave(n_rows // len(ids), dim=0)
