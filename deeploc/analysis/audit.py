"""The audit: what is counted of the stimuli before the first forward pass, and its warnings."""

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
    """What was counted of the stimuli, and the warnings that follow.

    Parameters
    ----------
    conditions
        Condition -> what was counted, as JSON. ``n``; ``duplicates``, the stimuli with the content
        of an earlier one of the condition; ``elsewhere``, those whose content is in another
        condition too, and ``shared``, the same for each other condition. Where they apply the mean,
        sd (ddof=1), min and max of ``words``, ``characters``, ``tokens`` (not truncated, without
        special ones), ``words_left`` (whole words, where any text is truncated), ``width``,
        ``height``, ``pixels`` and ``luminance`` (0-1), and the shares (0-1) that are ``truncated``,
        ``not_word_final`` (read at a token that does not end a word) and ``bos`` (a special token
        comes first).
    warnings
        One sentence each.
    limit
        After how many tokens, special ones counted, this model's texts are truncated.
    """

    conditions: Mapping[str, Mapping[str, Any]]
    warnings: Sequence[str]
    limit: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the audit as it stands in a manifest."""
        conditions = {name: dict(counted) for name, counted in self.conditions.items()}
        return {"conditions": conditions, "limit": self.limit, "warnings": list(self.warnings)}


def audit_stimuli(
    contrast: Contrast, stimuli: StimulusSets, adapter: Adapter | None = None
) -> Audit:
    """Return the audit of every stimulus that localizes or evaluates; no forward pass is made.

    Parameters
    ----------
    contrast
        Its comparison and read-out.
    stimuli
        The stimuli of the run.
    adapter
        The model; its tokens are counted if it is one that `Tokenizes`.

    Raises
    ------
    AdapterError
        If a text has no token that can be read.
    """
    by_condition = {
        name: list(dict.fromkeys((*group, *stimuli.held_out[name])))
        for name, group in stimuli.localizing.items()
    }
    measured = {name: _measured(group) for name, group in by_condition.items()}
    limit = None
    if contrast.modality == "text" and isinstance(adapter, Tokenizes):
        for name, group in by_condition.items():
            tokenized, limit = _tokenized(adapter, group, contrast)
            measured[name] |= tokenized
        measured = _without_unneeded(measured)
    counted = {
        name: _counted(name, by_condition) | _summary(measured[name]) for name in by_condition
    }
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
    made = adapter.tokenization(stimuli, Readout.of(contrast.read))
    values = {"tokens": made.tokens, "truncated": made.kept < made.tokens, "bos": made.bos}
    if made.word_final is not None:
        values["not_word_final"] = ~made.word_final
    if made.words is not None:
        values["words_left"] = made.words
    return {key: each.astype(np.float64) for key, each in values.items()}, made.limit


def _without_unneeded(measured: Mapping[str, Measured]) -> dict[str, Measured]:
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
    spread = {"mean": values.mean(), "sd": values.std(ddof=1)}
    spread |= {"min": values.min(), "max": values.max()}
    return {key: float(value) for key, value in spread.items()}


def _counted(name: str, stimuli: Stimuli) -> dict[str, Any]:
    """Return how many stimuli a condition has, and how many of them occur again."""
    contents = Counter(stimulus.content_key for stimulus in stimuli[name])
    others = {
        other: {stimulus.content_key for stimulus in group}
        for other, group in stimuli.items()
        if other != name
    }

    def n_in(other: Set[str]) -> int:
        return sum(n for content, n in contents.items() if content in other)

    shared = {other: n for other, theirs in others.items() if (n := n_in(theirs))}
    elsewhere = n_in({content for theirs in others.values() for content in theirs})
    n = contents.total()
    return {"n": n, "duplicates": n - len(contents), "elsewhere": elsewhere, "shared": shared}


def _repeats(counted: Mapping[str, Mapping[str, Any]]) -> list[str]:
    sentences = [
        f"{counts['duplicates']:,} of {counts['n']:,} stimuli of {name} repeat another one; t "
        "counts each as independent evidence"
        for name, counts in counted.items()
        if counts["duplicates"]
    ]
    for one, other in combinations(counted, 2):
        if n := counted[one]["shared"].get(other):
            sentences.append(
                f"{n:,} of {counted[one]['n']:,} stimuli of {one} and "
                f"{counted[other]['shared'][one]:,} of {counted[other]['n']:,} of {other} are the "
                "same; what is in both conditions cannot distinguish them"
            )
    return sentences
