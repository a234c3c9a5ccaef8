"""Gradients of masked LMs and encoder-decoders, against finite differences of the ablation."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from deeploc import wrap
from deeploc.core.adapter import TextRequest
from deeploc.core.attributing import attribute, with_loss
from deeploc.core.attribution import Term, mean_terms
from deeploc.core.readout import Readout
from deeploc.errors import AdapterError
from deeploc.stimuli import Stimulus

from .conftest import SENTENCES, texts
from .test_attribution import all_of, by_example, only
from .test_attribution_experts import STEP, Double
from .test_encoders import adapter_for, made, masking_tokenizer

CONTENTS = SENTENCES[3:5]
NAMES = ["bert", "roberta", "t5", "bart"]


def exact(name: str) -> Any:
    """Return an adapter around a tiny model in float64."""
    return wrap(made(name).double(), tokenizer=masking_tokenizer(), name=name)


def masked_loss(model: Any, content: str) -> Tensor:
    """Return the negative pseudo-log-likelihood of a text, one masked token after the other."""
    ids = torch.tensor([masking_tokenizer()(content)["input_ids"]])
    total = torch.zeros(())
    for position in range(1, ids.shape[1] - 1):
        shown = ids.clone()
        shown[0, position] = masking_tokenizer().mask_token_id
        total = total - model(shown).logits[0, position].log_softmax(-1)[ids[0, position]]
    return total


def decoder_loss(model: Any, content: str) -> Tensor:
    """Return the negative log-likelihood of a text under the decoder, after an empty prompt."""
    prompt, labels = (
        torch.tensor([masking_tokenizer()(text)["input_ids"]]) for text in ("", content)
    )
    start = torch.tensor([[model.config.decoder_start_token_id]])
    shown = torch.cat([start, labels[:, :-1]], dim=1)
    logprobs = model(prompt, decoder_input_ids=shown).logits[0].log_softmax(-1)
    return -logprobs.gather(-1, labels[0, :, None])[1:-1].sum()


def loss_of(adapter: Any, content: str) -> Tensor:
    """Return the loss of a text, from transformers alone."""
    loss = decoder_loss if adapter.model.config.is_encoder_decoder else masked_loss
    with Double():
        return loss(adapter.model, content)


@torch.no_grad()
def losses_of(adapter: Any, contents: Sequence[str]) -> np.ndarray:
    """Return the loss of every text."""
    return np.array([float(loss_of(adapter, content)) for content in contents])


@pytest.mark.parametrize("name", NAMES)
def test_effects_equal_finite_differences(name: str, rng: np.random.Generator) -> None:
    """-activation x gradient is the derivative of the loss by the gain of a unit, at every site."""
    adapter = exact(name)
    layout = adapter.sites
    with Double():
        found = adapter.attributions(texts(CONTENTS), all_of(layout), Readout())
        effects, _, losses = by_example(found, len(CONTENTS), layout.n_units)
    np.testing.assert_allclose(losses, losses_of(adapter, CONTENTS), rtol=1e-6)
    assert losses == pytest.approx(
        [-score.logprob for score in adapter.score([TextRequest("", c) for c in CONTENTS])],
        rel=1e-4,
    )

    def under(unit: int, gain: float) -> np.ndarray:
        with adapter.ablated(only(layout, unit, gain)):
            return losses_of(adapter, CONTENTS)

    units = rng.choice(np.flatnonzero(effects.any(axis=0)), 6, replace=False)
    slopes = [(under(unit, 1 - STEP) - under(unit, 1 + STEP)) / (2 * STEP) for unit in units]
    expected = np.stack(slopes, axis=1)
    largest = np.abs(expected).max()
    assert largest > 1e-4
    np.testing.assert_allclose(effects[:, units], expected, rtol=1e-3, atol=1e-5 * largest)


@pytest.mark.parametrize("name", ["bert", "t5"])
def test_both_sides_of_an_objective_have_their_share(name: str) -> None:
    """Prompts, texts, weights and batches of any lengths are summed as they are alone."""
    adapter = adapter_for(name)
    layout = adapter.sites
    request = TextRequest("the old woman", " reads a letter")
    terms = [*mean_terms(texts(SENTENCES[2:5])), Term(request, -0.5, per_token=False)]
    found = attribute(adapter, terms, all_of(layout), Readout())
    parts = [attribute(adapter, [term], all_of(layout), Readout()) for term in terms]
    for field in ("attribution", "gradient", "value"):
        expected = sum(getattr(part, field) for part in parts)
        np.testing.assert_allclose(getattr(found, field), expected, rtol=1e-4, atol=1e-7)
    (score,) = adapter.score([request])
    assert parts[-1].value == pytest.approx(0.5 * score.logprob, rel=1e-4)


@pytest.mark.parametrize("name", ["bert", "t5"])
def test_weights_have_the_gradient_of_the_same_loss(name: str) -> None:
    """|weight x gradient| of a tensor is that of torch alone, with the loss computed by hand."""
    adapter = exact(name)
    terms = [Term(texts(CONTENTS)[0], 1.0, per_token=False)]
    with Double():
        found = adapter.weight_attributions(terms, adapter.sites, Readout())
    adapter.model.zero_grad()
    loss_of(adapter, CONTENTS[0]).backward()  # type: ignore[no-untyped-call]
    products = {n: p * p.grad for n, p in adapter.model.named_parameters() if p.grad is not None}
    assert set(found.tensors) == set(products)
    for tensor, (_, amount) in found.tensors.items():
        expected = float(products[tensor].detach().abs().sum())
        assert amount == pytest.approx(expected, rel=1e-6, abs=1e-9), tensor


@pytest.mark.parametrize("name", ["bert", "t5"])
def test_texts_are_truncated_where_the_read_out_truncates_them(name: str) -> None:
    """The loss of a stimulus is that of its first tokens, special tokens apart."""
    adapter = adapter_for(name)
    full = all_of(adapter.sites)
    (batch,) = adapter.attributions(texts(SENTENCES[:1]), full, Readout(max_tokens=6))
    assert batch.tokens.tolist() == [4]


def test_a_model_without_a_head_has_no_loss(image_files: list[Stimulus]) -> None:
    """One line says so, and so it does of images shown to a masked LM."""
    with pytest.raises(AdapterError, match="has no loss whose gradient can be taken"):
        with_loss(adapter_for("encoder"))
    bert = adapter_for("bert")
    with pytest.raises(AdapterError, match="no loss of images"):
        list(bert.attributions(image_files, all_of(bert.sites), Readout()))
