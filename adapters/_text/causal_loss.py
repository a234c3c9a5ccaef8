"""The loss of texts under a causal language model, as the sum over one forward pass."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from deeploc.adapters._torch.batching import padded

from .attribute import LossPass
from .causal import CausalLM
from .score import Encoded


def causal_loss(lm: CausalLM, texts: Sequence[Encoded]) -> LossPass:
    """Return the pass in which every text is a row.

    Parameters
    ----------
    lm
        The model.
    texts
        Texts that share the pass.
    """
    batch = _Batch(lm, texts)
    return LossPass(batch.losses, np.arange(len(texts)), batch.attended)


class _Batch:
    """Texts that share a pass."""

    def __init__(self, lm: CausalLM, texts: Sequence[Encoded]) -> None:
        self._lm = lm
        self._ids, self.attended = padded([text.ids[:-1] for text in texts])
        self._targets, _ = padded([text.ids[1:] for text in texts])
        self._first = min(text.start for text in texts) - 1
        positions = torch.arange(self._ids.shape[1])
        starts, ends = (
            torch.tensor([[bound] for bound in bounds])
            for bounds in ([t.start - 1 for t in texts], [len(t.ids) - 1 for t in texts])
        )
        self._scored = (positions >= starts) & (positions < ends)

    def losses(self) -> Float[Tensor, " stimulus"]:
        """Make one forward pass; return the summed loss (nats) of every text."""
        keep = self._ids.shape[1] - self._first
        logits = self._lm.logits(self._ids.to(self._lm.device), self.attended, keep=keep)
        wide = logits if logits.dtype == torch.float64 else logits.float()
        targets = self._targets[:, self._first :, None].to(wide.device)
        logprobs = wide.log_softmax(dim=-1).gather(-1, targets).squeeze(-1)
        scored = self._scored[:, self._first :].to(wide.device)
        return -torch.where(scored, logprobs, 0.0).sum(dim=1)
