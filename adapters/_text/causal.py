"""Forward passes of a causal language model: its trunk, and its trunk with the head."""

import inspect
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from deeploc.adapters._sites.axes import TextProbe, close
from deeploc.adapters._torch.hooks import eager, first_tensor
from deeploc.adapters._torch.placement import input_device
from deeploc.adapters._torch.quiet import quiet
from deeploc.adapters._torch.read import eval_mode
from deeploc.errors import AdapterError, DeeplocError

from .context import PositionTables, n_embedded
from .probe import LAST, N_TEXTS, N_TOKENS, SAME, ProbeInput, probe_inputs, special_tokens

_CONTEXT = (
    *("max_position_embeddings", "max_target_positions", "n_positions"),
    *("max_seq_len", "n_ctx", "max_sequence_length"),
)

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
        return input_device(self.model.get_input_embeddings())

    @property
    def vocabulary(self) -> int:
        """Number of tokens with an embedding."""
        embedding = self.model.get_input_embeddings()
        n = getattr(embedding, "num_embeddings", None)  # a quantized one has no tensor `weight`
        return int(n or embedding.weight.shape[0])

    @cached_property
    def context(self) -> int | None:
        """The longest input in tokens; ``None`` if the architecture has no limit.

        What the config says, unless fewer positions have an embedding: in some families the first
        rows of the table are not those of the first tokens.
        """
        config = self.model.config.get_text_config()
        limits = (getattr(config, name, None) for name in _CONTEXT)
        said = next((int(n) for n in limits if isinstance(n, int) and n > 0), None)
        embedded = n_embedded([self._shown(number).tables for number in range(2)])
        return min((n for n in (said, embedded) if n is not None), default=None)

    @cached_property
    def can_pad(self) -> bool:
        """Whether a text has the same logits alone and padded beside longer ones.

        Where it has not, only texts of equal length can share a forward pass.
        """
        alone, beside = self._inputs
        if not self._shown(1).is_padded:
            return False
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

    @torch.inference_mode()
    def require_causal(self, name: str) -> None:
        """Refuse a model in which later tokens change the activations of earlier ones.

        Parameters
        ----------
        name
            Of the model, for the message.

        Raises
        ------
        AdapterError
            If they do: such a model cannot score a text from left to right.
        """
        first, second = self._shown(0).hidden[list(LAST[0]), :-1].float()
        if (first - second).norm() > 1e-3 * first.norm():
            raise AdapterError(
                f"model {name!r} is not a causal language model: its tokens attend to later ones; "
                "for an encoder use `deeploc.wrap(module, preprocess=...)` from Python"
            )

    @cached_property
    def probes(self) -> tuple[TextProbe, TextProbe]:
        """Two small forward passes of other numbers and lengths of texts."""
        first, second = (
            TextProbe(partial(self._show, n), N_TEXTS[n], N_TOKENS[n], LAST[n], SAME[n])
            for n in range(2)
        )
        return first, second

    def _shown(self, number: int) -> "_Shown":
        """Return what one of the probes showed when it ran last."""
        return self._passes[number] if number in self._passes else self._show(number)

    @torch.inference_mode()
    def _show(self, number: int) -> "_Shown":
        """Run one of the probes."""
        inputs = self._inputs[number]
        ids = inputs.ids.to(self.device)
        with eval_mode(self.model), eager(), PositionTables(N_TOKENS[number]) as tables:
            try:
                shown = _Shown(self.trunk(ids, inputs.attended), tables, True)
            except AdapterError:
                if inputs.attended is None:
                    raise
                shown = _Shown(self.trunk(ids), tables, False)  # it takes no mask
        self._passes[number] = shown
        return shown

    @cached_property
    def _passes(self) -> dict[int, "_Shown"]:
        return {}

    @cached_property
    def _inputs(self) -> tuple[ProbeInput, ProbeInput]:
        return probe_inputs(self.vocabulary, special_tokens(self.model.config))

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
        try:
            with quiet():  # transformers advises on masks when a text contains the pad token
                return module(input_ids=ids, **more)
        except (DeeplocError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # whatever the code of a model raises
            raise AdapterError(
                f"{type(self.model).__name__} fails on {len(ids)} texts of {ids.shape[1]} tokens: "
                f"{type(error).__name__}: {' '.join(str(error).split())[:200]}; deeploc gives a "
                "language model token ids and an attention mask, and nothing else"
            ) from error


@dataclass(frozen=True)
class _Shown:
    """What one probe showed: the last hidden state, the tables, and whether it was padded."""

    hidden: Float[Tensor, "batch position unit"]
    tables: PositionTables
    is_padded: bool
