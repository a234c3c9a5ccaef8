"""Names of classes: the network's own, or those of ImageNet, recognized by their number."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any


def class_names(n_classes: int, own: Sequence[str] = ()) -> tuple[tuple[str, ...], ...]:
    """Return the names of every class, the most readable first; empty if they are unknown.

    Parameters
    ----------
    n_classes
        Number of classes. Where it is that of ImageNet or of a subset that timm knows, each class
        is named by its words and its WordNet id.
    own
        Names that were given with the network.
    """
    if own:
        return tuple((name,) for name in own)
    data: Any = import_module("timm.data")
    subset = data.infer_imagenet_subset({"num_classes": n_classes})
    if subset is None:
        return ()
    info = data.ImageNetInfo(subset)
    return tuple(_names(info, index) for index in range(n_classes))


def _names(info: Any, index: int) -> tuple[str, ...]:
    words = [word.strip() for word in info.index_to_description(index).split(",")]
    return (*dict.fromkeys(words), info.index_to_label_name(index))
