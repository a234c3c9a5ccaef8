"""Find the units of a network that respond to a contrast, and test what they do.

>>> import deeploc
>>> adapter = deeploc.load_model("reference:lm")                # doctest: +SKIP
>>> contrast = deeploc.load_contrast("language")                # doctest: +SKIP
>>> stat_map = deeploc.localize(adapter, contrast)              # doctest: +SKIP
>>> mask = deeploc.top_percent(stat_map, 1)                     # doctest: +SKIP
>>> with adapter.ablated(deeploc.Ablation(mask)):               # doctest: +SKIP
...     adapter.generate("the cat", deeploc.Sampling())
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

if _TYPE_CHECKING:
    from deeploc.analysis.evaluation import evaluate
    from deeploc.analysis.localization import localize
    from deeploc.analysis.planning import plan
    from deeploc.analysis.select_units import select_units
    from deeploc.analysis.tasks import make_tasks
    from deeploc.contrast.model import Contrast
    from deeploc.contrast.model import load as load_contrast
    from deeploc.core.ablation import Ablation
    from deeploc.core.adapter import ModelOptions, Sampling, TextRequest
    from deeploc.core.effects import Effect
    from deeploc.core.effects import effects as effects_of
    from deeploc.core.matching import random_like
    from deeploc.core.readout import Readout
    from deeploc.core.results import Cell, Score
    from deeploc.core.selectable import UnitScores
    from deeploc.core.selection import (
        bottom_k,
        fdr,
        percentile_range,
        top_k,
        top_percent,
    )
    from deeploc.core.units import Layout, Site, StatMap, UnitMask
    from deeploc.errors import DeeplocError
    from deeploc.plugins import load_model, wrap
    from deeploc.runs.saved_run import load_run
    from deeploc.stimuli import Stimulus

_HOME = {
    "Ablation": "core.ablation",
    "Cell": "core.results",
    "Contrast": "contrast.model",
    "DeeplocError": "errors",
    "Effect": "core.effects",
    "Layout": "core.units",
    "ModelOptions": "core.adapter",
    "Readout": "core.readout",
    "Sampling": "core.adapter",
    "Score": "core.results",
    "Site": "core.units",
    "StatMap": "core.units",
    "Stimulus": "stimuli",
    "TextRequest": "core.adapter",
    "UnitMask": "core.units",
    "UnitScores": "core.selectable",
    "bottom_k": "core.selection",
    "effects_of": "core.effects:effects",
    "evaluate": "analysis.evaluation",
    "fdr": "core.selection",
    "load_contrast": "contrast.model:load",
    "load_model": "plugins",
    "load_run": "runs.saved_run",
    "localize": "analysis.localization",
    "make_tasks": "analysis.tasks",
    "percentile_range": "core.selection",
    "plan": "analysis.planning",
    "random_like": "core.matching",
    "select_units": "analysis.select_units",
    "top_k": "core.selection",
    "top_percent": "core.selection",
    "wrap": "plugins",
}
"""Public name -> the module that defines it, with the name there where it is another."""

__all__ = [
    "Ablation",
    "Cell",
    "Contrast",
    "DeeplocError",
    "Effect",
    "Layout",
    "ModelOptions",
    "Readout",
    "Sampling",
    "Score",
    "Site",
    "StatMap",
    "Stimulus",
    "TextRequest",
    "UnitMask",
    "UnitScores",
    "bottom_k",
    "effects_of",
    "evaluate",
    "fdr",
    "load_contrast",
    "load_model",
    "load_run",
    "localize",
    "make_tasks",
    "percentile_range",
    "plan",
    "random_like",
    "select_units",
    "top_k",
    "top_percent",
    "wrap",
]


def __getattr__(name: str) -> _Any:
    # imported on first use: NumPy, SciPy and pydantic would make `deeploc --help` wait for half a
    # second. No public name may be a module's too: importing that module would replace it.
    if name not in _HOME:
        raise AttributeError(f"module 'deeploc' has no attribute {name!r}")
    module, _, attribute = _HOME[name].partition(":")
    value = getattr(_import_module(f"deeploc.{module}"), attribute or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names: what is imported on first use, and no internal module."""
    return list(__all__)
