"""What a classifier answers: its logits, and the features that its last layer is given."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deeploc.adapters._sites.discover import named_sites
from deeploc.adapters._sites.trace import observe
from deeploc.adapters._torch.hooks import SiteHook, first_tensor, hook_sites, not_run
from deeploc.adapters._torch.shape import as_sequences
from deeploc.core.adapter import Answers
from deeploc.core.units import Site
from deeploc.errors import AdapterError
from deeploc.stimuli import Stimulus

Ask = Callable[[Sequence[Stimulus]], Answers]


class Remembered:
    """The last answers of a module, for as long as its weights are what they were."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._key: Any = None
        self._answers: Answers | None = None

    def answers(self, stimuli: Sequence[Stimulus], ask: Ask) -> Answers:
        """Return the answers to ``stimuli``; ``ask`` is called only for what is new."""
        key = (tuple(stimuli), _state(self._module))
        if self._answers is None or key != self._key:
            self._answers, self._key = ask(stimuli), key
        return self._answers


def classifier_input(module: nn.Module, run: Callable[[], Any], n_stimuli: int) -> Site:
    """Return the input of the last layer with a matrix of weights that runs.

    Raises
    ------
    AdapterError
        If no layer runs.
    """
    weighted = [call.path for call in observe(module, run).calls if _is_layer(module, call.path)]
    if not weighted:
        raise AdapterError(f"{type(module).__name__} has no layer that could be its classifier")
    (site,) = named_sites(module, [f"{weighted[-1]}:input"], run, n_stimuli).sites
    return site


@torch.inference_mode()
def read_answers(
    module: nn.Module, features: Site, images: Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """Return logits (image, class) and features (image, feature) as float32.

    Raises
    ------
    AdapterError
        If the module returns no scores of classes.
    """
    seen: list[Tensor] = []

    def keep(x: Tensor) -> None:
        seen.append(as_sequences(features, x, len(images)).mean(dim=1, dtype=torch.float32))

    hook = SiteHook(features.path, module.get_submodule(features.path), features.tap, keep)
    with hook_sites([hook]):
        logits = first_tensor(module(images))
    if not seen:
        raise not_run(features.name)
    if logits is None or logits.ndim != 2:
        shape = None if logits is None else tuple(logits.shape)
        raise AdapterError(
            f"{type(module).__name__} returns {shape} for {len(images)} images, not scores of "
            "classes; leave out the tasks that need them"
        )
    return logits.float().cpu().numpy(), seen[-1].cpu().numpy()


def _is_layer(module: nn.Module, path: str) -> bool:
    layer = module.get_submodule(path)
    innermost = next(layer.children(), None) is None
    return innermost and any(p.ndim > 1 for p in layer.parameters(recurse=False))


def _state(module: nn.Module) -> list[tuple[int, int]]:
    """Return what changes when a weight is replaced or written to."""
    held = (*module.parameters(), *module.buffers())
    # a few networks make buffers anew while they run; such tensors tell no version
    return [(x.data_ptr(), 0 if x.is_inference() else x._version) for x in held]
