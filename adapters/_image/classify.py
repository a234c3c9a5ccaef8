"""Predictions of a network of images: the scores of classes and the features below them."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deeploc.adapters._sites.discover import named_sites
from deeploc.adapters._sites.trace import trace_calls
from deeploc.adapters._torch.class_loss import scores_of
from deeploc.adapters._torch.hooks import SiteHook, first_tensor, hook_sites, not_run
from deeploc.adapters._torch.shape import as_sequences
from deeploc.core.adapter import Predictions
from deeploc.core.units import Site
from deeploc.errors import AdapterError
from deeploc.stimuli import Stimulus

Predict = Callable[[Sequence[Stimulus]], Predictions]


class PredictionCache:
    """The last predictions of a module, for as long as its weights stay the same."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._key: Any = None
        self._predictions: Predictions | None = None

    def get(self, stimuli: Sequence[Stimulus], predict: Predict) -> Predictions:
        """Return the predictions for ``stimuli``.

        Parameters
        ----------
        stimuli
            What to classify.
        predict
            Called if these are not the last predictions, or a weight has changed since.
        """
        key = (tuple(stimuli), _state(self._module))
        if self._predictions is None or key != self._key:
            self._predictions, self._key = predict(stimuli), key
        return self._predictions


def feature_site(
    module: nn.Module, run: Callable[[], Any], n_stimuli: int, *, has_classes: bool
) -> Site:
    """Return where the features are: the input of the last layer with a matrix of weights.

    Parameters
    ----------
    module
        The network.
    run
        Makes one forward pass.
    n_stimuli
        Number of images in it.
    has_classes
        False: the network has no classifier, and its features are its output.

    Raises
    ------
    AdapterError
        If no layer runs, or a network without classes returns no tensor of features.
    """
    if not has_classes:
        return named_sites(module, [""], run, n_stimuli).sites[0]
    calls = trace_calls(module, run).calls
    layers = [call.path for call in calls if _is_layer(module, call.path)]
    if not layers:
        raise AdapterError(f"{type(module).__name__} has no layer that could be its classifier")
    return named_sites(module, [f"{layers[-1]}:input"], run, n_stimuli).sites[0]


@torch.inference_mode()
def predict_batch(
    module: nn.Module, features: Site, images: Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """Return class scores (image, class) and features (image, feature) as float32.

    Parameters
    ----------
    module
        The network.
    features
        Where the features are; they are averaged over positions. Where this is the output of the
        network itself, there are no classes and the scores are (image, 0).
    images
        Its input (image, colour, row, column).

    Raises
    ------
    AdapterError
        If the module returns no scores of classes, or the site of the features does not run.
    """
    read: list[Tensor] = []

    def keep(x: Tensor) -> None:
        read.append(as_sequences(features, x, len(images)).mean(dim=1, dtype=torch.float32))

    hook = SiteHook(features.path, module.get_submodule(features.path), features.tap, keep)
    with hook_sites([hook]):
        output = first_tensor(module(images))
    if not read:
        raise not_run(features.name)
    scores = read[-1][:, :0] if not features.path else scores_of(output, module, len(images))
    return scores.float().cpu().numpy(), read[-1].cpu().numpy()


def _is_layer(module: nn.Module, path: str) -> bool:
    layer = module.get_submodule(path)
    is_leaf = next(layer.children(), None) is None
    return is_leaf and any(p.ndim > 1 for p in layer.parameters(recurse=False))


def _state(module: nn.Module) -> list[tuple[int, int]]:
    """Return what changes when a weight is replaced or written to."""
    tensors = (*module.parameters(), *module.buffers())
    # a few networks replace buffers while they run; such tensors have no version
    return [(x.data_ptr(), 0 if x.is_inference() else x._version) for x in tensors]
