"""Checks of what an adapter can do beside reading: each is skipped where it cannot."""

from collections.abc import Sequence
from unittest import SkipTest

import numpy as np

from deeploc.core.ablation import Ablation
from deeploc.core.adapter import (
    Classifies,
    Generates,
    Predictions,
    Sampling,
    ScoresText,
    TextRequest,
    TextScore,
    Tokenizes,
)
from deeploc.core.positions import ReadsPositions
from deeploc.core.units import Layout, UnitMask
from deeploc.errors import AdapterError
from deeploc.stimuli import Stimulus
from deeploc.testing.checking import Subject, expect

PROMPT, MIDDLE, END = "the old dog", " sees the", " small house"
REQUESTS = (
    TextRequest("", PROMPT + MIDDLE),
    TextRequest(PROMPT, MIDDLE),
    TextRequest(PROMPT + MIDDLE, END),
    TextRequest(PROMPT, MIDDLE + END),
)
"""A text as a whole and in parts."""


def tokenization(subject: Subject) -> None:
    """Check that tokens are counted for every text, in order, and never more kept than counted."""
    adapter = subject.adapter
    if not isinstance(adapter, Tokenizes):
        raise SkipTest("it does not tell how texts are tokenized")
    told = adapter.tokenization(subject.stimuli, subject.readout)
    n = len(subject.stimuli)
    expect(told.tokens.shape == told.kept.shape == (n,), "there is not one count for every text")
    expect(bool((told.kept <= told.tokens).all()), "more tokens are kept than there are")
    backwards = adapter.tokenization(subject.stimuli[::-1], subject.readout).tokens
    expect(np.array_equal(told.tokens, backwards[::-1]), "counts are not in the order of the texts")


def score(subject: Subject) -> None:
    """Check that parts of a text sum to its log-probability, and that ablation changes it."""
    adapter = subject.adapter
    if not isinstance(adapter, ScoresText):
        raise SkipTest("it does not score texts; how to add it: docs/plugins.md")
    scores = adapter.score(REQUESTS)
    expect(len(scores) == len(REQUESTS), "there is not one score for every request")
    expect(all(s.n_tokens > 0 for s in scores[1:]), "a completion has no scored token")
    expect(all(s.logprob <= 0 for s in scores), "a log-probability is above 0 or nan")
    alone = [adapter.score([request])[0] for request in REQUESTS]
    near = subject.same([s.logprob for s in scores], [s.logprob for s in alone])
    expect(near, "a score depends on the other requests")
    if _reads_left_to_right(subject):
        _expect_sums(subject, scores)
    with adapter.ablated(_everything_at_the_last_site(subject)):
        ablated = adapter.score(REQUESTS)
    changed = [a.logprob != b.logprob for a, b in zip(scores, ablated, strict=True)]
    expect(any(changed), "an ablation of a whole site changes no score")


def generate(subject: Subject) -> None:
    """Check that a continuation is new text only; equal seeds give equal texts."""
    adapter = subject.adapter
    if not isinstance(adapter, Generates):
        raise SkipTest("it does not generate text; how to add it: docs/plugins.md")
    prompt = PROMPT + MIDDLE + END
    for sampling in (Sampling(max_tokens=6), Sampling(6, temperature=1.0, seed=3)):
        text, again = (adapter.generate(prompt, sampling) for _ in range(2))
        expect(isinstance(text, str), f"a continuation is {type(text).__name__}, not text")
        expect(not text.startswith(prompt), "a continuation begins with its prompt")
        expect(text == again, "equal seeds give different continuations")


def classify(subject: Subject) -> None:
    """Check that predictions are by stimulus, in order, and that ablation changes them."""
    adapter = subject.adapter
    if not isinstance(adapter, Classifies):
        raise SkipTest("it does not classify")
    whole = adapter.classify(subject.stimuli)
    n, logits = len(subject.stimuli), _logits(whole)
    expect(
        whole.features.ndim == 2 and len(whole.features) == n,
        "features are not (stimulus, feature)",
    )
    expect(bool(np.isfinite(whole.features).all()), "features are not finite")
    if logits is not None:
        expect(logits.ndim == 2 and len(logits) == n, "logits are not (stimulus, class)")
        names = len(adapter.classes)
        expect(names in (0, logits.shape[-1]), f"{names} names for {logits.shape[-1]} classes")
    backwards = adapter.classify(subject.stimuli[::-1])
    expect(
        subject.same(_numbers(whole), _numbers(backwards)[::-1]), "predictions depend on the order"
    )
    with adapter.ablated(_everything_at_the_last_site(subject)):
        ablated = adapter.classify(subject.stimuli)
    changed = not np.array_equal(_numbers(whole), _numbers(ablated))
    expect(changed, "an ablation of a whole site changes no prediction")


def effect(subject: Subject) -> None:
    """Check that an ablation of any kind changes what the model predicts, while it lasts."""
    last = subject.layout.sites[-1]
    intact = _predicted(subject)
    for kind in subject.layout.kinds:
        if not _predicts(subject) and kind == last.kind:
            continue  # nothing comes after it
        units = {s.name: np.arange(0, s.n_units, 2) for s in subject.layout.sites if s.kind == kind}
        with subject.adapter.ablated(Ablation(subject.mask(units))):
            changed = not np.array_equal(_predicted(subject), intact)
        expect(changed, f"an ablation of {kind} changes nothing that comes after it")
    expect(np.array_equal(_predicted(subject), intact), "an ablation outlives its context")


def _predicts(subject: Subject) -> bool:
    return isinstance(subject.adapter, ScoresText | Classifies)


def _predicted(subject: Subject) -> np.ndarray:
    """Return scores or predictions; of an adapter that reads only, what its last site reads."""
    adapter = subject.adapter
    if isinstance(adapter, ScoresText):
        return np.array([score.logprob for score in adapter.score(REQUESTS)])
    if isinstance(adapter, Classifies):
        return _numbers(adapter.classify(subject.stimuli))
    return subject.read(layout=Layout(subject.layout.sites[-1:]))


def _expect_sums(subject: Subject, scores: Sequence[TextScore]) -> None:
    _, first, second, both = scores
    if first.n_tokens + second.n_tokens == both.n_tokens:  # no token spans the two parts
        total = first.logprob + second.logprob
        expect(subject.same(total, both.logprob), "scores of parts do not sum to that of the whole")


def _reads_left_to_right(subject: Subject) -> bool:
    """Return whether a position does not see those after it: only then do scores of parts sum."""
    adapter = subject.adapter
    if not isinstance(adapter, ReadsPositions):
        return False
    last = Layout(subject.layout.sites[-1:])
    texts = [Stimulus("part", PROMPT), Stimulus("whole", PROMPT + MIDDLE + END)]
    shown = dict(adapter.positions(texts, last, subject.readout))
    part, whole = (shown[i][last.sites[0].name] for i in range(2))
    n = max(len(part) - 1, 1)  # a tokenizer may end a text with a token of its own
    return subject.same(part[:n], whole[:n])


def _everything_at_the_last_site(subject: Subject) -> Ablation:
    selected = np.zeros(subject.layout.n_units, dtype=bool)
    selected[subject.layout.slices[subject.layout.sites[-1].name]] = True
    return Ablation(UnitMask(subject.layout, selected))


def _logits(predictions: Predictions) -> "np.ndarray | None":
    try:
        return predictions.logits
    except AdapterError:  # a network without classes
        return None


def _numbers(predictions: Predictions) -> "np.ndarray":
    logits = _logits(predictions)
    return predictions.features if logits is None else np.hstack([logits, predictions.features])
