"""Generate text with an encoder-decoder by passes of the whole model."""

from typing import Any

import torch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutput


class WholePasses:
    """An encoder-decoder that is shown the whole of its text in every pass in which it generates.

    ``generate`` runs the encoder once, apart from the model, and the decoder on its last token
    alone; an edit that depends on stimulus or position needs passes of the whole.

    Parameters
    ----------
    model
        An encoder-decoder of transformers.
    """

    def __init__(self, model: Any) -> None:
        self._model = model

    def __call__(self, *args: Any, **named: Any) -> Any:
        """Return what the model returns."""
        return self._model(*args, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def generate(self, *, input_ids: Tensor, **options: Any) -> Tensor:
        """Return what the model generates (text, token).

        Parameters
        ----------
        input_ids
            What the encoder is shown, (text, position).
        **options
            Of ``generate``; nothing is cached whatever they say.
        """

        def shown(_: Any, args: Any, named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
            beams = len(named["decoder_input_ids"]) // len(input_ids)
            kept = {key: value for key, value in named.items() if key != "encoder_outputs"}
            return args, {**kept, "input_ids": input_ids.repeat_interleave(beams, dim=0)}

        nothing = torch.zeros(*input_ids.shape, 1, device=input_ids.device)
        options |= {"use_cache": False, "encoder_outputs": BaseModelOutput(nothing)}
        handle = self._model.register_forward_pre_hook(shown, with_kwargs=True, prepend=True)
        try:
            made: Tensor = self._model.generate(input_ids=input_ids, **options)
        finally:
            handle.remove()
        return made
