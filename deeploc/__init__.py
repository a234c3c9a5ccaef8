"""Find the units of a network that respond to a contrast, and test what they do.

>>> import deeploc
>>> adapter = deeploc.load_model("reference:lm")                # doctest: +SKIP
>>> contrast = deeploc.load_contrast("language")                # doctest: +SKIP
>>> stat_map = deeploc.localize(adapter, contrast)              # doctest: +SKIP
>>> mask = deeploc.top_percent(stat_map, 1)                     # doctest: +SKIP
>>> with adapter.ablated(deeploc.Ablation(mask)):               # doctest: +SKIP
...     adapter.generate("the cat", deeploc.Sampling())
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deeploc.analysis.evaluation import evaluate
    from deeploc.analysis.localization import localize
    from deeploc.contrast.model import Contrast
    from deeploc.contrast.model import load as load_contrast
    from deeploc.core.ablation import Ablation
    from deeploc.core.adapter import ModelOptions, Sampling, TextRequest
    from deeploc.core.controls import random_like
    from deeploc.core.selection import bottom_k, fdr, percentile_range, top_k, top_percent
    from deeploc.core.units import Layout, Site, StatMap, UnitMask
    from deeploc.errors import DeeplocError
    from deeploc.plugins import load_model, wrap
    from deeploc.stimuli import Stimulus

_HOME = {
    "Ablation": "core.ablation",
    "Contrast": "contrast.model",
    "DeeplocError": "errors",
    "Layout": "core.units",
    "ModelOptions": "core.adapter",
    "Sampling": "core.adapter",
    "Site": "core.units",
    "StatMap": "core.units",
    "Stimulus": "stimuli",
    "TextRequest": "core.adapter",
    "UnitMask": "core.units",
    "bottom_k": "core.selection",
    "evaluate": "analysis.evaluation",
    "fdr": "core.selection",
    "load_contrast": "contrast.model:load",
    "load_model": "plugins",
    "localize": "analysis.localization",
    "percentile_range": "core.selection",
    "random_like": "core.selection",
    "top_k": "core.selection",
    "top_percent": "core.selection",
    "wrap": "plugins",
}

__all__ = [
    "Ablation",
    "Contrast",
    "DeeplocError",
    "Layout",
    "ModelOptions",
    "Sampling",
    "Site",
    "StatMap",
    "Stimulus",
    "TextRequest",
    "UnitMask",
    "bottom_k",
    "evaluate",
    "fdr",
    "load_contrast",
    "load_model",
    "localize",
    "percentile_range",
    "random_like",
    "top_k",
    "top_percent",
    "wrap",
]


def __getattr__(name: str) -> Any:
    # imported on first use: NumPy, SciPy and pydantic would make `deeploc --help` wait for half a
    # second. No public name may be a module's too: importing that module would replace it.
    if name not in _HOME:
        raise AttributeError(f"module 'deeploc' has no attribute {name!r}")
    module, _, attribute = _HOME[name].partition(":")
    value = getattr(import_module(f"deeploc.{module}"), attribute or name)
    globals()[name] = value
    return value
