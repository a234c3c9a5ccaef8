"""Names of classes: of ImageNet, where a network has as many classes as it, else its own."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any


def class_names(n_classes: int, own: Sequence[str] = ()) -> tuple[tuple[str, ...], ...]:
    """Return the names of every class, the most readable first; none where nobody knows them.

    ``own`` are the names that came with the network. For ImageNet, and its subsets of another
    size, each class has its words and its WordNet id, as timm's tables have them.
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
