"""Gradients of wrapped modules whose output are scores of classes, against finite differences."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deeploc import wrap
from deeploc.adapters._module.adapter import ModuleAdapter
from deeploc.core.adapter import TextRequest
from deeploc.core.attribution import Labelled, Term
from deeploc.core.readout import Readout
from deeploc.errors import AdapterError

from .conftest import texts
from .test_attribution import all_of, by_example, only
from .test_module import Reader, characters

STIMULI = texts(["the bird", "a", "some farmers walked", "b c d", "ee"])
CLASSES = ("noun", "verb", "other")
STEP = 1e-5
"""Of central differences; a larger one would cross the kinks of rectifiers."""


class Classifier(nn.Module):
    """Scores of three classes from the mean over the characters of a text."""

    def __init__(self) -> None:
        super().__init__()
        self.reader, self.head = Reader(), nn.Linear(8, 3)

    def forward(self, codes: Tensor, attention_mask: Tensor) -> Tensor:
        valid = attention_mask[..., None].double()
        x = self.reader(codes).tanh()
        scores: Tensor = self.head((x * valid).sum(dim=1) / valid.sum(dim=1))
        return scores


def classifier(classes: Sequence[str] = CLASSES) -> ModuleAdapter:
    """Return a wrapped classifier in float64."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = Classifier().double().train()
    adapter: Any = wrap(module, preprocess=characters, classes=classes)
    return adapter  # type: ignore[no-any-return]


def losses_of(adapter: ModuleAdapter, classes: Sequence[int]) -> np.ndarray:
    """Return the cross entropy of a class for every stimulus, from torch alone."""
    module = adapter.module.eval()
    with torch.no_grad():
        scores = [module(**characters([stimulus.content]))[0] for stimulus in STIMULI]
    own = zip(scores, classes, strict=True)
    return np.array([-float(score.log_softmax(0)[number]) for score, number in own])


def probable(adapter: ModuleAdapter) -> list[int]:
    """Return the class of every stimulus that the intact module finds most probable."""
    return [int(np.argmin([losses_of(adapter, [c] * 5)[i] for c in range(3)])) for i in range(5)]


def test_effects_equal_finite_differences(rng: np.random.Generator) -> None:
    """Dropout is off, padding does not count, and the module is left in training mode."""
    adapter = classifier()
    layout = adapter.sites
    found = adapter.attributions(STIMULI, all_of(layout), Readout(pool="mean"))
    effects, gradients, losses = by_example(found, 5, layout.n_units)
    assert adapter.module.training
    own = probable(adapter)
    np.testing.assert_allclose(losses, losses_of(adapter, own), rtol=1e-9)

    def under(unit: int, gain: float) -> np.ndarray:
        with adapter.ablated(only(layout, unit, gain)):
            return losses_of(adapter, own)

    units = rng.choice(np.flatnonzero(effects.any(axis=0)), 12, replace=False)
    slopes = [(under(unit, 1 - STEP) - under(unit, 1 + STEP)) / (2 * STEP) for unit in units]
    expected = np.stack(slopes, axis=1)
    np.testing.assert_allclose(effects[:, units], expected, rtol=1e-3, atol=1e-6)
    assert np.abs(expected).max() > 1e-3
    alone = adapter.attributions(STIMULI[1:2], all_of(layout), Readout(pool="mean"))
    np.testing.assert_allclose(gradients[1:2], by_example(alone, 1, layout.n_units)[1], rtol=1e-9)


def test_labels_and_weights_count() -> None:
    """The loss of a label is its class's; |weight x gradient| is that of torch alone."""
    adapter = classifier()
    labels = [2, 0, 1, 1, 0]
    terms = [
        Term(Labelled(stimulus, (label,)), 1 / 5)
        for stimulus, label in zip(STIMULI, labels, strict=True)
    ]
    found = adapter.weight_attributions(terms, adapter.sites, Readout(pool="mean"))
    module = adapter.module.eval()
    total = torch.zeros((), dtype=torch.float64)
    for stimulus, label in zip(STIMULI, labels, strict=True):
        scores = module(**characters([stimulus.content]))[0]
        total = total - scores.log_softmax(0)[label] / 5
    total.backward()  # type: ignore[no-untyped-call]
    for name, weight in module.named_parameters():
        expected = float((weight * weight.grad).detach().abs().sum())
        assert found.tensors[name][1] == pytest.approx(expected, rel=1e-9), name
    examples = [term.example for term in terms]
    batches = adapter.attributions(examples, all_of(adapter.sites), Readout(pool="mean"))
    losses = by_example(batches, 5, adapter.sites.n_units)[2]
    np.testing.assert_allclose(losses, losses_of(adapter, labels), rtol=1e-9)


@pytest.mark.parametrize(
    ("classes", "example", "message"),
    [
        ((), STIMULI[0], r"not known whether Classifier returns scores .* \(`classes=`\)"),
        (CLASSES[:2], STIMULI[0], "returns 3 scores for each stimulus, but .* of 2 classes"),
        (CLASSES, TextRequest("", "a"), "classifies stimuli, and has no loss of completions"),
    ],
)
def test_losses_that_a_module_does_not_have_are_one_line(
    classes: Sequence[str], example: Any, message: str
) -> None:
    """No classes, another number of them, and a text that goes on."""
    adapter = classifier(classes)
    with pytest.raises(AdapterError, match=message):
        list(adapter.attributions([example], all_of(adapter.sites), Readout(pool="mean")))


def test_an_output_that_is_not_one_score_per_class_is_one_line() -> None:
    """A module that returns activations at every position has no loss."""
    adapter = wrap(Reader(), preprocess=characters, classes=CLASSES)
    with pytest.raises(AdapterError, match="not scores of classes"):
        list(adapter.attributions(STIMULI, all_of(adapter.sites), Readout(pool="mean")))
