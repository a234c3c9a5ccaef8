"""Forward passes of a causal language model: its trunk, and its trunk with the head."""

import inspect
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from deeploc.adapters._torch.hooks import first_tensor
from deeploc.adapters._torch.quiet import quiet
from deeploc.errors import AdapterError

_CONTEXT = ("max_position_embeddings", "n_positions", "max_seq_len", "n_ctx", "max_sequence_length")

Ids = Int[Tensor, "batch position"]
Attended = Bool[Tensor, "batch position"] | None


@dataclass(frozen=True)
class CausalLM:
    """The forward passes of a causal LM of transformers.

    Parameters
    ----------
    model
        The model with its head.
    """

    model: Any

    @property
    def device(self) -> torch.device:
        """The device of the token embedding, and so of token ids."""
        return torch.device(self.model.get_input_embeddings().weight.device)

    @property
    def vocabulary(self) -> int:
        """Number of tokens with an embedding."""
        return int(self.model.get_input_embeddings().weight.shape[0])

    @cached_property
    def context(self) -> int | None:
        """The longest input in tokens; ``None`` if the architecture has no limit."""
        config = self.model.config.get_text_config()
        limits = (getattr(config, name, None) for name in _CONTEXT)
        return next((int(n) for n in limits if isinstance(n, int) and n > 0), None)

    def trunk(self, ids: Ids, attended: Attended = None) -> Float[Tensor, "batch position unit"]:
        """Return the last hidden state; the language-model head is not computed.

        Parameters
        ----------
        ids
            Token ids, padded on the right.
        attended
            False at padding; ``None``: no padding.

        Raises
        ------
        AdapterError
            If the model returns no tensor.
        """
        output = self._call(self.model.base_model, self._trunk_arguments, ids, attended)
        hidden = first_tensor(output)
        if hidden is None:
            raise AdapterError(f"{type(self.model).__name__} returns no tensor")
        return hidden

    def logits(
        self, ids: Ids, attended: Attended = None, keep: int = 0
    ) -> Float[Tensor, "batch kept token"]:
        """Return the logits of the last ``keep`` positions.

        Parameters
        ----------
        ids
            Token ids, padded on the right.
        attended
            False at padding; ``None``: no padding.
        keep
            Number of positions; 0: all.
        """
        takes = self._model_arguments
        more = {"logits_to_keep": keep} if "logits_to_keep" in takes else {}
        logits: Tensor = self._call(self.model, takes, ids, attended, **more).logits
        return logits[:, -keep:]

    def probe(self) -> Ids:
        """Return a small input: two texts of three tokens that differ in the last."""
        return torch.tensor([[1, 2, 3], [1, 2, 4]]) % self.vocabulary

    @cached_property
    def _model_arguments(self) -> frozenset[str]:
        return frozenset(inspect.signature(self.model.forward).parameters)

    @cached_property
    def _trunk_arguments(self) -> frozenset[str]:
        return frozenset(inspect.signature(self.model.base_model.forward).parameters)

    def _call(
        self, module: Any, takes: frozenset[str], ids: Ids, attended: Attended, **more: Any
    ) -> Any:
        if "use_cache" in takes:
            more["use_cache"] = False
        if attended is not None:  # the fastest attention kernels take no mask
            more["attention_mask"] = attended.to(ids.device, torch.long)
        with quiet():  # transformers advises on masks when a text contains the pad token
            return module(input_ids=ids, **more)
