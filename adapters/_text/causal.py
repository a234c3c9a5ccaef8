"""Forward passes of a causal language model: its trunk, and its trunk with the head."""

import inspect
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from deeploc.adapters._sites.axes import TextProbe, close
from deeploc.adapters._torch.hooks import eager, first_tensor
from deeploc.adapters._torch.placement import input_device
from deeploc.adapters._torch.read import eval_mode
from deeploc.errors import AdapterError

from .probe import N_TOKENS
from .probing import Probes, context_of, run_model

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
        embedding = self.model.get_input_embeddings()  # of a Perceiver: a parameter, of its latents
        return input_device(embedding if isinstance(embedding, nn.Module) else self.model)

    @property
    def vocabulary(self) -> int:
        """Number of tokens with an embedding."""
        embedding = self.model.get_input_embeddings()
        n = getattr(embedding, "num_embeddings", None)  # a quantized one has no tensor `weight`
        if n is None and not hasattr(embedding, "weight"):  # vectors that are no tokens'
            n = self.model.config.vocab_size
        return int(n or embedding.weight.shape[0])

    @cached_property
    def context(self) -> int | None:
        """The longest input in tokens; ``None`` if the architecture has no limit.

        What the config says, unless fewer positions have an embedding: in some families the first
        rows of the table are not those of the first tokens.
        """
        return context_of(self.model, self._probes)

    @cached_property
    def can_pad(self) -> bool:
        """Whether a text reads the same, and has the same logits, alone and padded.

        Where it has not, only texts of equal length can share a forward pass.
        """
        pads = self._probes.pads(self.context)
        if not pads or self.model.get_output_embeddings() is None:
            return pads
        alone, beside = self._probes.inputs
        with torch.inference_mode(), eval_mode(self.model), eager():
            expected = self.logits(alone.ids[:1].to(self.device))[0]
            logits = self.logits(beside.ids.to(self.device), beside.attended)[0]
        return len(logits) == N_TOKENS[1] and close(logits[: N_TOKENS[0]], expected)

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

    @property
    def is_causal(self) -> bool:
        """Whether later tokens leave the activations of earlier ones as they are."""
        return self._probes.is_causal

    @property
    def probes(self) -> tuple[TextProbe, TextProbe]:
        """Two small forward passes of other numbers and lengths of texts."""
        return self._probes.passes

    @cached_property
    def _probes(self) -> Probes:
        return Probes(self)

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
        return run_model(module, ids, **more)
