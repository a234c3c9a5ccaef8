"""What `breadth.py` checks of every model: the conformance kit, and what only this library tells.

The kit knows adapters, not transformers. Beside its checks stand four that need either a whole
contrast or the model behind the adapter.
"""

import inspect
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import SkipTest

import numpy as np
import torch

import deeploc
from deeploc.core.ablation import Ablation
from deeploc.core.adapter import Generates, ScoresText, TextRequest
from deeploc.testing import CHECKS, Check, Outcome
from deeploc.testing.checking import Subject, expect

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "localize": (
        *("description", "stable-sites", "untrained", "batches", "deterministic", "order"),
        *("site-alone", "positions", "tokenization", "contrast"),
    ),
    "batch": ("batch-size", "neighbours", "position-batches"),
    "ablate": (
        *("no-units", "other-units", "earlier-sites", "every-site", "effect", "forward-pass"),
        "foreign-mask",
    ),
    "read-back": ("zero", "offset", "scale"),
    "restore": ("after-exception", "hooks"),
    "generate": ("generate",),
    "score": ("score", "own-logits", "classify"),
}
"""Column of the table -> the checks that it stands for."""


def contrast(subject: Subject) -> None:
    """Check that a contrast, with a text longer than the context, gives a t for most units."""
    adapter = subject.adapter
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "contrast.yaml"
        path.write_text(json.dumps(_contrast(subject)))  # JSON is YAML
        t = deeploc.localize(adapter, deeploc.load_contrast(path)).t
    expect(len(t) == adapter.sites.n_units, f"{len(t)} of {adapter.sites.n_units} units have a t")
    for kind in adapter.sites.kinds:
        finite = np.isfinite(t[adapter.sites.of_kind(kind)]).mean()
        expect(bool(finite > 0.5), f"most units of {kind} have no finite t")


def _contrast(subject: Subject) -> dict[str, Any]:
    """Return a contrast between one half of the stimuli and the other."""
    of_images = isinstance(subject.stimuli[0].content, Path)
    shown = [str(stimulus.content) for stimulus in subject.stimuli]
    halves = [shown[::2], shown[1::2]]
    if not of_images:
        halves[0].append(" ".join(shown * 3))
    read = {"sites": list(subject.adapter.sites.kinds), "pool": "mean"}
    return {
        **{"name": "breadth", "title": "One half > the other", "source": "made up"},
        **{"modality": "image" if of_images else "text", "contrast": "one > other"},
        "conditions": {
            name: {"images" if of_images else "texts": half}
            for name, half in zip(("one", "other"), halves, strict=True)
        },
        "read": read if of_images else {**read, "tokens": "all"},
        "split": "none",
    }


def hooks(subject: Subject) -> None:
    """Check that an ablation leaves the modules of a model with the hooks that they had."""
    model = _module_of(subject.adapter)
    before = _changes(model)
    everything = np.ones(subject.layout.n_units, dtype=bool)
    with subject.adapter.ablated(Ablation(deeploc.UnitMask(subject.layout, everything))):
        subject.read()
    expect(_changes(model) == before, "hooks are left behind")


def own_logits(subject: Subject) -> None:
    """Check that the score of a text is the log-probability in the logits of transformers."""
    adapter: Any = subject.adapter
    if not (isinstance(adapter, ScoresText) and isinstance(adapter, Generates)):
        raise SkipTest("it does not score from left to right")
    if adapter.model.config.is_encoder_decoder:
        raise SkipTest("it scores with its decoder, which is given the text in another form")
    text = str(subject.stimuli[0].content)
    numbers = adapter.tokenizer(text)["input_ids"]
    if numbers[-1] == adapter.tokenizer.eos_token_id:  # a text that is scored does not end
        numbers = numbers[:-1]
    ids = torch.tensor([numbers])
    takes = inspect.signature(adapter.model.forward).parameters
    more = {"use_cache": False} if "use_cache" in takes else {}
    with torch.inference_mode():
        logits = adapter.model(input_ids=ids[:, :-1], **more).logits
    places = torch.arange(ids.shape[1] - 1)
    by_hand = float(logits.float().log_softmax(-1)[0, places, ids[0, 1:]].sum())
    (ours,) = adapter.score([TextRequest("", text)])
    expect(subject.same(ours.logprob, by_hand), f"{ours.logprob:.4f}, by hand {by_hand:.4f}")


def _module_of(adapter: Any) -> torch.nn.Module:
    module: torch.nn.Module = adapter.module if hasattr(adapter, "module") else adapter.model
    return module


def _changes(model: torch.nn.Module) -> int:
    """Return how many hooks, and forwards of their own, the modules of a model have."""
    return sum(
        len(module._forward_hooks) + len(module._forward_pre_hooks) + ("forward" in vars(module))
        for module in model.modules()
    )


CHECKED: tuple[Check, ...] = (
    *CHECKS,
    Check("contrast", contrast),
    Check("hooks", hooks),
    Check("own-logits", own_logits),
)
"""Every check, in the order in which they are made."""


def column_marks(outcomes: Sequence[Outcome]) -> dict[str, str]:
    """Return the mark of every column."""
    by_name = {outcome.name: outcome for outcome in outcomes}
    if set(by_name) != {name for names in COLUMNS.values() for name in names}:
        raise SystemExit("a check is in no column, or a column names what is no check")
    return {column: _mark([by_name[name] for name in names]) for column, names in COLUMNS.items()}


def _mark(outcomes: Sequence[Outcome]) -> str:
    states = {outcome.state for outcome in outcomes}
    if "failed" in states:
        return "-"
    if any(outcome.reason.startswith("it rests on") for outcome in outcomes):
        return "?"
    return "+" if "ok" in states else "."
