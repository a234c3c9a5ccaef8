"""Forward passes of an encoder-decoder: what the encoder is shown, and what the decoder."""

import inspect
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from deeploc.adapters._sites.axes import TextProbe, close
from deeploc.adapters._torch.hooks import eager, first_tensor
from deeploc.adapters._torch.read import eval_mode
from deeploc.errors import AdapterError

from .causal import Attended, CausalLM, Ids
from .head import head_at
from .probing import Probes, context_of, run_model


@dataclass(frozen=True)
class EncoderDecoder:
    """The forward passes of an encoder-decoder of transformers.

    Parameters
    ----------
    model
        The model, with or without its head.
    """

    model: Any

    @property
    def device(self) -> torch.device:
        """The device of the token embedding, and so of token ids."""
        return CausalLM(self.model).device

    @property
    def vocabulary(self) -> int:
        """Number of tokens with an embedding."""
        return CausalLM(self.model).vocabulary

    @cached_property
    def context(self) -> int | None:
        """The longest input of either half in tokens; ``None``: no limit."""
        return context_of(self.model, self._probes)

    @cached_property
    def can_pad(self) -> bool:
        """Whether texts of unlike length can share a forward pass."""
        pads = self._probes.pads(self.context)
        if not pads or not self.has_head:
            return pads
        alone, beside = self._probes.inputs
        first, ids = alone.ids[:1].to(self.device), beside.ids.to(self.device)
        with torch.inference_mode(), eval_mode(self.model), eager():
            expected = self.logits(first, None, self.shifted(first))[0]
            logits = self.logits(ids, beside.attended, self.shifted(ids, beside.attended))[0]
        return close(logits[: len(expected)], expected)

    @property
    def probes(self) -> tuple[TextProbe, TextProbe]:
        """Two small forward passes of other numbers and lengths of texts."""
        return self._probes.passes

    @cached_property
    def _probes(self) -> Probes:
        return Probes(self)

    @property
    def has_head(self) -> bool:
        """Whether the decoder predicts tokens."""
        return self.model.get_output_embeddings() is not None

    def trunk(self, ids: Ids, attended: Attended = None) -> Float[Tensor, "batch _ unit"]:
        """Show a text to both halves, and return what the model returns first.

        The encoder is shown the text and the decoder the same text shifted right by one token,
        as transformers itself makes the input of a decoder from its labels. So every site has as
        many positions as the text has tokens: position ``i`` of an encoder site has read the
        whole text from token ``i``, position ``i`` of a decoder site the text (through the
        encoder) and its tokens before ``i``, and it predicts token ``i``. The head is computed at
        one position only.

        Parameters
        ----------
        ids
            Token ids, padded on the right.
        attended
            False at padding; ``None``: no padding.
        """
        with head_at(self.model, lambda hidden: hidden[:, :1]):
            output = self._call(self.model.base_model, ids, attended, self.shifted(ids, attended))
        hidden = first_tensor(output)
        if hidden is None:
            raise AdapterError(f"{type(self.model).__name__} returns no tensor")
        return hidden

    def logits(
        self, ids: Ids, attended: Attended, decoder_ids: Int[Tensor, "batch said"]
    ) -> Float[Tensor, "batch said token"]:
        """Return the logits of the decoder at all its positions.

        Parameters
        ----------
        ids
            What the encoder is shown.
        attended
            False at padding of the encoder; ``None``: no padding.
        decoder_ids
            What the decoder is shown, padded on the right: it is causal.
        """
        logits: Tensor = self._call(self.model, ids, attended, decoder_ids).logits
        return logits

    def shifted(self, labels: Ids, attended: Attended = None) -> Ids:
        """Return the input of the decoder that predicts ``labels``.

        Parameters
        ----------
        labels
            Token ids, padded on the right.
        attended
            False at padding; ``None``: no padding.

        Raises
        ------
        AdapterError
            If the config names no token that starts the decoder.
        """
        padding = self.model.config.get_text_config().pad_token_id
        if attended is not None and padding is not None:  # some wrap the last token around
            labels = labels.masked_fill(~attended.to(labels.device), padding)
        try:
            return self.model.prepare_decoder_input_ids_from_labels(labels)  # type: ignore[no-any-return]
        except (AttributeError, ValueError, AssertionError):  # its own way needs more than it has
            start = torch.full_like(labels[:, :1], self.start)
            return torch.cat([start, labels[:, :-1]], dim=1)

    @property
    def start(self) -> int:
        """The token that starts the decoder; where none is named, it is that of a text or padding.

        Raises
        ------
        AdapterError
            If the config names none.
        """
        config = self.model.config
        places = (config, config.get_text_config(), getattr(self.model, "generation_config", None))
        names = ("decoder_start_token_id", "bos_token_id", "pad_token_id", "eos_token_id")
        starts = (getattr(place, name, None) for name in names for place in places)
        found = next((start for start in starts if start is not None), None)
        if found is None:
            raise AdapterError(
                f"{type(self.model).__name__}: its config.json names no decoder_start_token_id, so "
                "that the decoder cannot start; add it to the config.json"
            )
        return int(found)

    def _call(
        self, module: Any, ids: Ids, attended: Attended, decoder_ids: Int[Tensor, "batch said"]
    ) -> Any:
        takes = inspect.signature(module.forward).parameters
        more: dict[str, Any] = {"use_cache": False} if "use_cache" in takes else {}
        # always given: without one, some take tokens that look like padding out
        mask = torch.ones_like(ids) if attended is None else attended.to(ids)
        return run_model(module, ids, attention_mask=mask, decoder_input_ids=decoder_ids, **more)
