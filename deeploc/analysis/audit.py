"""What a contrast shows a model, counted before the first forward pass, and what warns of it."""

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Float64

from deeploc.analysis.confounds import Measured, confounds
from deeploc.contrast.model import Contrast
from deeploc.core.adapter import Adapter, Tokenizes
from deeploc.core.readout import Readout
from deeploc.stimuli import Stimulus, StimulusSets

SHARES = ("truncated", "not_word_final", "bos")
"""Properties that a stimulus has or has not; the others are measures."""

Stimuli = Mapping[str, Sequence[Stimulus]]


@dataclass(frozen=True)
class Audit:
    """What was counted of each condition, as JSON, and the sentences that warn.

    Of each condition there are ``n``, ``duplicates`` (stimuli that show what an earlier one of the
    condition shows), ``elsewhere`` (those that any other condition shows too), ``shared`` (the same
    for each other condition that does) and, where they apply, the mean, sd (ddof=1), min and max
    of ``words``, ``characters``, ``tokens`` (before truncation, special ones not counted),
    ``words_left`` (whole ones, where any text is truncated), ``width``, ``height``, ``pixels`` and
    ``luminance`` (0-1), and the shares (0-1) that are ``truncated``, ``not_word_final`` (read at a
    token that does not end a word) and ``bos`` (a special token stands in front). ``limit`` is
    after how many tokens, special ones counted, this model's texts are cut.
    """

    conditions: Mapping[str, Mapping[str, Any]]
    warnings: Sequence[str]
    limit: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the audit as it stands in a manifest."""
        conditions = {name: dict(counted) for name, counted in self.conditions.items()}
        return {"conditions": conditions, "limit": self.limit, "warnings": list(self.warnings)}


def examine(contrast: Contrast, drawn: StimulusSets, adapter: Adapter | None = None) -> Audit:
    """Return the audit of every stimulus that localizes or evaluates.

    Tokens are counted where ``adapter`` is one that `Tokenizes`; no forward pass is made.

    Raises
    ------
    AdapterError
        If a text has no token that can be read.
    """
    stimuli = {
        name: list(dict.fromkeys((*group, *drawn.held_out[name])))
        for name, group in drawn.localizing.items()
    }
    measured = {name: _measured(group) for name, group in stimuli.items()}
    limit = None
    if contrast.modality == "text" and isinstance(adapter, Tokenizes):
        for name, group in stimuli.items():
            tokenized, limit = _tokenized(adapter, group, contrast)
            measured[name] |= tokenized
        measured = _without_idle(measured)
    counted = {name: _counted(name, stimuli) | _summary(measured[name]) for name in stimuli}
    warnings = [*confounds(contrast.comparison, measured, limit), *_repeats(counted)]
    return Audit(counted, warnings, limit)


def _measured(stimuli: Sequence[Stimulus]) -> dict[str, Float64[np.ndarray, " stimulus"]]:
    """Return what can be measured of all the stimuli without a model."""
    texts = [s.content for s in stimuli if isinstance(s.content, str)]
    looks = [s.properties for s in stimuli if s.properties]
    rows: dict[str, list[float]] = {}
    if len(texts) == len(stimuli):
        rows = {"words": [len(t.split()) for t in texts], "characters": [len(t) for t in texts]}
    elif len(looks) == len(stimuli):
        rows = {key: [getattr(k, key) for k in looks] for key in ("width", "height", "luminance")}
        rows["pixels"] = [k.width * k.height for k in looks]
    return {key: np.array(values, dtype=np.float64) for key, values in rows.items()}


def _tokenized(
    adapter: Tokenizes, stimuli: Sequence[Stimulus], contrast: Contrast
) -> tuple[Measured, int | None]:
    found = adapter.tokenization(stimuli, Readout.of(contrast.read))
    values = {"tokens": found.tokens, "truncated": found.kept < found.tokens, "bos": found.bos}
    if found.word_final is not None:
        values["not_word_final"] = ~found.word_final
    if found.words is not None:
        values["words_left"] = found.words
    return {key: each.astype(np.float64) for key, each in values.items()}, found.limit


def _without_idle(measured: Mapping[str, Measured]) -> dict[str, Measured]:
    """Return what was measured without the words left, where no text at all is truncated."""
    cut = any(values["truncated"].any() for values in measured.values())
    return {
        name: {key: each for key, each in values.items() if cut or key != "words_left"}
        for name, values in measured.items()
    }


def _summary(measured: Measured) -> dict[str, Any]:
    return {
        key: float(values.mean()) if key in SHARES else _spread(values)
        for key, values in measured.items()
    }


def _spread(values: Float64[np.ndarray, " stimulus"]) -> dict[str, float]:
    found = {"mean": values.mean(), "sd": values.std(ddof=1)}
    found |= {"min": values.min(), "max": values.max()}
    return {key: float(value) for key, value in found.items()}


def _counted(name: str, stimuli: Stimuli) -> dict[str, Any]:
    """Return how many stimuli of a condition there are, and how many of them there are again."""
    shown = Counter(stimulus.content_key for stimulus in stimuli[name])
    others = {
        other: {s.content_key for s in group} for other, group in stimuli.items() if other != name
    }

    def common(contents: Set[str]) -> int:
        return sum(n for content, n in shown.items() if content in contents)

    shared = {other: n for other, contents in others.items() if (n := common(contents))}
    elsewhere = common({content for contents in others.values() for content in contents})
    n = shown.total()
    return {"n": n, "duplicates": n - len(shown), "elsewhere": elsewhere, "shared": shared}


def _repeats(counted: Mapping[str, Mapping[str, Any]]) -> list[str]:
    sentences = [
        f"{told['duplicates']:,} of {told['n']:,} stimuli of {name} show what another of them "
        "shows; t counts each as evidence of its own"
        for name, told in counted.items()
        if told["duplicates"]
    ]
    for one, other in combinations(counted, 2):
        if n := counted[one]["shared"].get(other):
            sentences.append(
                f"{n:,} of {counted[one]['n']:,} stimuli of {one} and "
                f"{counted[other]['shared'][one]:,} of {counted[other]['n']:,} of {other} show the "
                "same; what is in both conditions cannot tell them apart"
            )
    return sentences
