"""Gradients at sites and weights: against finite differences, ablations and plain autograd."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import nn

from deeploc.adapters import timm as timm_adapter
from deeploc.adapters._image.adapter import ImageAdapter
from deeploc.adapters._sites.discover import find_sites
from deeploc.adapters._text.adapter import HFAdapter
from deeploc.adapters._torch.ablate import ablated
from deeploc.adapters._torch.gradient import attribute_batch
from deeploc.core.ablation import Ablation
from deeploc.core.adapter import ModelOptions, TextRequest
from deeploc.core.attributing import Attribution, attribute
from deeploc.core.attribution import Attributed, Labelled, Term, mean_terms
from deeploc.core.readout import Readout
from deeploc.core.units import Layout, Site, UnitMask
from deeploc.errors import AdapterError
from deeploc.stimuli import Stimulus

from .conftest import LISTS, SENTENCES, hooks_of, inputs_of, model_of, shaken, texts, tokenizer_of

STEPS = {"text": 1e-2, "image": 1e-5}
"""Of central differences: transformers normalizes in float32, which a smaller step would show;
convolutional networks have kinks, which a larger one would cross."""


def all_of(layout: Layout, **changes: Any) -> Ablation:
    """Return zero ablation of every unit."""
    return Ablation(UnitMask(layout, np.ones(layout.n_units, dtype=bool)), **changes)


def only(layout: Layout, unit: int, gain: float) -> Ablation:
    """Return the ablation that multiplies one unit by ``gain``."""
    return Ablation(UnitMask(layout, np.arange(layout.n_units) == unit), gain=gain)


def by_example(batches: Iterator[Attributed], n: int, n_units: int) -> tuple[np.ndarray, ...]:
    """Return effects, gradients and losses in the order of the examples."""
    effects, gradients, losses = np.full((2, n, n_units), np.nan), None, np.full(n, np.nan)
    effects, gradients = effects
    for batch in batches:
        effects[batch.indices], gradients[batch.indices] = batch.effects, batch.gradients
        losses[batch.indices] = batch.losses
    return effects, gradients, losses


def language_model(family: str, **changes: Any) -> HFAdapter:
    """Return an adapter around a tiny model in float64."""
    model = model_of(family, scale=2.0, **changes).double()
    return HFAdapter(model, tokenizer_of(), family)


def text_losses(adapter: HFAdapter, contents: Sequence[str]) -> np.ndarray:
    """Return the negative log-probability of every text, from transformers alone."""
    losses = []
    for content in contents:
        ids = torch.tensor([adapter.tokenizer(content)["input_ids"]])
        with torch.no_grad():
            logprobs = adapter.model(ids[:, :-1]).logits.log_softmax(-1)
        losses.append(-float(logprobs.gather(-1, ids[:, 1:, None]).sum()))
    return np.array(losses)


def differences(
    adapter: Any,
    layout: Layout,
    units: Sequence[int],
    losses: Callable[[], np.ndarray],
    step: float,
) -> np.ndarray:
    """Return -d loss / d gain of some units (example, unit): Richardson's central differences."""

    def central(unit: int, step: float) -> np.ndarray:
        with adapter.ablated(only(layout, unit, 1 + step)):
            above = losses()
        with adapter.ablated(only(layout, unit, 1 - step)):
            return (losses() - above) / (2 * step)

    each = [(4 * central(u, step / 2) - central(u, step)) / 3 for u in units]
    return np.stack(each, axis=1)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_effects_of_texts_equal_finite_differences(family: str, rng: np.random.Generator) -> None:
    """-activation x gradient is the derivative of the loss by the gain of a unit, at every site."""
    adapter = language_model(family)
    layout, contents = adapter.sites, SENTENCES[2:4]
    found = adapter.attributions(texts(contents), all_of(layout), Readout())
    effects, _, losses = by_example(found, len(contents), layout.n_units)
    np.testing.assert_allclose(losses, text_losses(adapter, contents), rtol=1e-6)
    units = rng.choice(layout.n_units, 16, replace=False)
    expected = differences(
        adapter, layout, units, lambda: text_losses(adapter, contents), STEPS["text"]
    )
    largest = np.abs(expected).max()
    assert largest > 1e-3
    np.testing.assert_allclose(effects[:, units], expected, rtol=1e-3, atol=1e-4 * largest)


@pytest.mark.parametrize("name", ["test_vit", "test_resnet"])
def test_effects_of_images_equal_finite_differences(
    name: str, rng: np.random.Generator, image_files: list[Stimulus]
) -> None:
    """The same of the cross entropy of a class, in a transformer and a convolutional network."""
    loaded = timm_adapter.load(name, ModelOptions(untrained=True, device="cpu"))
    shaken(loaded.module)
    adapter = double(loaded)
    layout, stimuli = adapter.sites, image_files[:2]
    found = adapter.attributions(stimuli, all_of(layout), Readout(pool="mean"))
    effects, _, losses = by_example(found, len(stimuli), layout.n_units)
    own = logits_of(adapter, stimuli).argmax(axis=1)

    def cross_entropy() -> np.ndarray:
        scores = torch.from_numpy(logits_of(adapter, stimuli))
        return -scores.log_softmax(dim=1)[range(len(own)), own].numpy()

    np.testing.assert_allclose(losses, cross_entropy(), rtol=1e-5)
    units = rng.choice(layout.n_units, 16, replace=False)
    expected = differences(adapter, layout, units, cross_entropy, STEPS["image"])
    largest = np.abs(expected).max()
    np.testing.assert_allclose(effects[:, units], expected, rtol=1e-3, atol=1e-4 * largest)


def double(adapter: ImageAdapter) -> ImageAdapter:
    """Return an adapter around the same network in float64."""
    return ImageAdapter(
        adapter.module.double(), adapter._preparation, adapter._size, identity={"model": "double"}
    )


def logits_of(adapter: ImageAdapter, stimuli: Sequence[Stimulus]) -> np.ndarray:
    """Return the class scores of the network as it is, in float64."""
    config = timm.data.resolve_model_data_config(adapter.module)
    images = inputs_of(stimuli, timm.data.create_transform(**config)).double()
    with torch.no_grad():
        return adapter.module(images).numpy()


class Linear(nn.Module):
    """Two linear layers over positions; their sum over positions is the loss."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 5).double(), nn.Linear(5, 1).double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x)).sum(dim=(1, 2))


@pytest.mark.parametrize("steps", [None, 3])
@pytest.mark.parametrize("mode", ["zero", "mean"])
def test_effects_are_exact_where_the_loss_is_linear(
    mode: str, steps: int | None, rng: np.random.Generator
) -> None:
    """The attribution of a unit is what ablating it does, with zero and with means per class."""
    torch.manual_seed(0)
    model, x = Linear(), torch.randn(4, 6, 3, dtype=torch.float64)
    sites = Layout((Site("first", "block", 5), Site("second", "mlp-neurons", 5, "input")))
    offsets = (
        {}
        if mode == "zero"
        else dict(zip(("offset", "first"), rng.normal(size=(2, 10)), strict=True))
    )
    effects, _, losses = attribute_batch(
        model, sites, all_of(sites, **offsets), lambda: model(x), n_stimuli=4, steps=steps
    )
    for unit in range(sites.n_units):
        mask = UnitMask(sites, np.arange(sites.n_units) == unit)
        with ablated(Ablation(mask, **offsets), model, sites, model), torch.no_grad():
            change = model(x).numpy() - losses
        np.testing.assert_allclose(effects[:, unit], change, rtol=1e-12, atol=1e-12)


def test_integrated_steps_add_up_to_the_ablation_of_the_site() -> None:
    """The effects of all units of a site sum to what zero ablation of the whole site does."""
    adapter = language_model("gpt2")
    contents = SENTENCES[3:4]
    layout = Layout(adapter.sites.choose(["mlp-neurons"]).sites[:1])
    batches = adapter.attributions(texts(contents), all_of(layout), Readout(), steps=64)
    effects, _, losses = by_example(batches, 1, layout.n_units)
    with adapter.ablated(all_of(layout)):
        change = text_losses(adapter, contents) - losses
    one = adapter.attributions(texts(contents), all_of(layout), Readout())
    assert abs(effects.sum() - change[0]) < 1e-3 * abs(change[0])
    assert abs(by_example(one, 1, layout.n_units)[0].sum() - change[0]) > 0.02 * abs(change[0])


@pytest.mark.parametrize("pool", ["mean", "none"])
def test_positions_are_units_where_they_count(pool: str, image_files: list[Stimulus]) -> None:
    """With pool none every position has its own effect and gradient; they sum to the unit's."""
    adapter = timm_adapter.load("test_vit", ModelOptions(untrained=True, device="cpu"))
    shaken(adapter.module)
    layout = adapter.sites.choose(["block"])
    whole = by_example(
        adapter.attributions(image_files, all_of(layout), Readout(pool="mean")), 4, layout.n_units
    )
    every = layout.per_position() if pool == "none" else layout
    parts = by_example(
        adapter.attributions(image_files, all_of(every), Readout(pool=pool)), 4, every.n_units
    )
    for site in layout.sites:
        n = site.n_positions or 1
        own, split = layout.slices[site.name], every.slices[site.name]
        shape = (4, -1, site.n_units)
        effects = parts[0][:, split].reshape(shape)
        gradients = parts[1][:, split].reshape(shape)
        np.testing.assert_allclose(effects.sum(axis=1), whole[0][:, own], rtol=1e-3, atol=1e-6)
        mean = gradients.sum(axis=1) / (n if pool == "none" else 1)
        np.testing.assert_allclose(mean, whole[1][:, own], rtol=1e-3, atol=1e-7)


def test_neighbours_and_padding_change_nothing() -> None:
    """Texts of many lengths in one pass have the effects and gradients that they have alone."""
    model = model_of("llama", scale=2.0)
    together, alone = (
        HFAdapter(model, tokenizer_of(), "llama", ModelOptions(batch_size=n)) for n in (8, 1)
    )
    contents = [*SENTENCES, *LISTS[:2]]
    layout = together.sites
    a, b = (
        by_example(
            adapter.attributions(texts(contents), all_of(layout), Readout()), 8, layout.n_units
        )
        for adapter in (together, alone)
    )
    for first, second in zip(a, b, strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-3, atol=1e-4 * np.abs(second).max())


@contextmanager
def no_gradients() -> Iterator[None]:
    """Return the context in which inference code usually runs."""
    with torch.no_grad(), torch.inference_mode():
        yield


def test_a_model_loaded_for_inference_has_gradients_and_is_left_as_it_was() -> None:
    """Weights of inference mode, frozen ones and training mode change nothing and are restored."""
    plain = HFAdapter(model_of("gpt2"), tokenizer_of(), "gpt2")
    with torch.inference_mode():
        model = model_of("gpt2")
    adapter = HFAdapter(model, tokenizer_of(), "gpt2")
    layout, weights, hooks = plain.sites, list(model.parameters()), hooks_of(model)
    assert all(weight.is_inference() for weight in weights)
    expected = by_example(
        plain.attributions(texts(SENTENCES), all_of(layout), Readout()), 6, layout.n_units
    )
    flags = [weight.requires_grad for weight in plain.model.parameters()]
    plain.model.train()
    with no_gradients():
        trained, frozen = (
            by_example(
                each.attributions(texts(SENTENCES), all_of(layout), Readout()), 6, layout.n_units
            )
            for each in (plain, adapter)
        )
    for found in (trained, frozen):
        np.testing.assert_array_equal(found[0], expected[0])
    assert plain.model.training
    assert [weight.requires_grad for weight in plain.model.parameters()] == flags
    assert all(a is b for a, b in zip(model.parameters(), weights, strict=True))
    assert all(weight.grad is None for weight in plain.model.parameters())
    assert hooks_of(model) == hooks


def test_calls_of_a_module_add_up() -> None:
    """A module that is called twice has the effect of editing both calls."""

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.act = nn.Linear(3, 3).double(), nn.ReLU(inplace=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.act(self.layer(self.act(self.layer(x)))).pow(2).sum(dim=(1, 2))

    torch.manual_seed(1)
    model, x = Twice(), torch.randn(2, 4, 3, dtype=torch.float64)
    sites = Layout((Site("layer", "block", 3),))
    effects, _, _ = attribute_batch(model, sites, all_of(sites), lambda: model(x), n_stimuli=2)

    def losses(unit: int, gain: float) -> np.ndarray:
        with ablated(only(sites, unit, gain), model, sites, model), torch.no_grad():
            return model(x).numpy()

    step = 1e-6
    for unit in range(3):
        slope = (losses(unit, 1 - step) - losses(unit, 1 + step)) / (2 * step)
        np.testing.assert_allclose(effects[:, unit], slope, rtol=1e-6, atol=1e-9)


def test_one_call_of_a_module_can_be_meant() -> None:
    """A site that is the second call has the effect of changing that call alone."""

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3).double()

        def forward(self, x: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
            return (self.layer(self.layer(x).tanh()) * factor).pow(2).sum(dim=(1, 2))

    torch.manual_seed(1)
    model, x = Twice(), torch.randn(2, 4, 3, dtype=torch.float64)
    factor = torch.ones(3, dtype=torch.float64)
    sites = Layout((Site("layer", "block", 3, call=2),))
    effects, _, _ = attribute_batch(
        model, sites, all_of(sites), lambda: model(x, factor), n_stimuli=2
    )
    step = 1e-6
    for unit in range(3):
        change = step * torch.eye(3, dtype=torch.float64)[unit]
        with torch.no_grad():
            slope = (model(x, factor - change) - model(x, factor + change)) / (2 * step)
        np.testing.assert_allclose(effects[:, unit], slope.numpy(), rtol=1e-6, atol=1e-9)


def test_units_of_several_scalars_are_their_sums(rng: np.random.Generator) -> None:
    """The attribution of a head is the sum over its scalars, in the order of its layout."""
    layout = Layout((Site("a", "heads", 2, "input", width=3), Site("b", "block", 2)))
    scalars = rng.normal(size=8)
    found = Attribution(scalars, scalars**2, 1.5).by_unit(layout)
    expected = [scalars[:3].sum(), scalars[3:6].sum(), *scalars[6:]]
    np.testing.assert_allclose(found.attribution, expected)
    assert found.by_unit(layout) is found


def test_gradient_is_the_mean_over_positions_of_its_size() -> None:
    """Of a linear loss it is the weight itself, whatever the activation."""
    model, x = Linear(), torch.randn(2, 6, 3, dtype=torch.float64)
    sites = Layout((Site("first", "block", 5),))
    _, gradients, _ = attribute_batch(model, sites, all_of(sites), lambda: model(x), n_stimuli=2)
    expected = model.second.weight.detach().abs().numpy().repeat(2, axis=0)
    np.testing.assert_allclose(gradients, expected, rtol=1e-12)


def test_an_objective_is_the_weighted_sum_of_losses() -> None:
    """Weights, signs and division by tokens are the terms'; its value is what score says."""
    adapter = language_model("gpt2")
    layout = adapter.sites
    request = TextRequest("the old woman", " reads a letter")
    terms = [
        *mean_terms(texts(SENTENCES[:2])),
        Term(texts(LISTS[:1])[0], -1.0),
        Term(request, 0.5, per_token=False),
    ]
    found = attribute(adapter, terms, all_of(layout), Readout())
    parts = [
        attribute(adapter, [Term(t.example, 1.0, t.per_token)], all_of(layout), Readout())
        for t in terms
    ]
    weights = [0.5, 0.5, -1.0, 0.5]
    for name in ("attribution", "value"):
        expected = sum(w * getattr(part, name) for w, part in zip(weights, parts, strict=True))
        np.testing.assert_allclose(getattr(found, name), expected, rtol=1e-9, atol=1e-12)
    unsigned = sum(abs(w) * part.gradient for w, part in zip(weights, parts, strict=True))
    np.testing.assert_allclose(found.gradient, unsigned, rtol=1e-9)
    scores = adapter.score([TextRequest("", SENTENCES[0]), request])
    assert parts[0].value == pytest.approx(-scores[0].logprob / scores[0].n_tokens, rel=1e-5)
    assert parts[3].value == pytest.approx(-scores[1].logprob, rel=1e-5)


def test_texts_are_truncated_where_the_read_out_truncates_them() -> None:
    """The loss of a stimulus is that of its first tokens; a text without any is named."""
    adapter = language_model("gpt2")
    layout = adapter.sites
    batches = adapter.attributions(texts(SENTENCES[:1]), all_of(layout), Readout(max_tokens=4))
    (batch,) = batches
    assert batch.tokens.tolist() == [3]
    with pytest.raises(AdapterError, match="texts:0 has no token that can be predicted"):
        list(adapter.attributions(texts(["a"]), all_of(layout), Readout()))


def test_labels_are_the_classes_whose_probability_is_summed(image_files: list[Stimulus]) -> None:
    """The loss of a labelled image is -log of the probability of its classes together."""
    adapter = timm_adapter.load("test_resnet", ModelOptions(untrained=True, device="cpu"))
    shaken(adapter.module)
    layout = adapter.sites
    probabilities = torch.from_numpy(adapter.classify(image_files).logits).softmax(dim=1).numpy()
    examples = [Labelled(image_files[0], (3, 7)), image_files[1]]
    batches = adapter.attributions(examples, all_of(layout), Readout(pool="mean"))
    _, _, losses = by_example(batches, 2, layout.n_units)
    expected = [probabilities[0, [3, 7]].sum(), probabilities[1].max()]
    np.testing.assert_allclose(losses, -np.log(expected), rtol=1e-4)


def test_losses_that_a_model_does_not_have_are_one_line(image_files: list[Stimulus]) -> None:
    """Images under a language model, texts under a classifier, a network without classes."""
    lm = language_model("gpt2")
    vit = timm_adapter.load("test_vit", ModelOptions(untrained=True, device="cpu"))
    with pytest.raises(AdapterError, match="no loss of images"):
        list(lm.attributions(image_files, all_of(lm.sites), Readout()))
    with pytest.raises(AdapterError, match="no loss of texts"):
        request = [TextRequest("", "a text")]
        list(vit.attributions(request, all_of(vit.sites), Readout(pool="mean")))
    headless = ImageAdapter(
        vit.module, vit._preparation, vit._size, identity={"model": "x"}, has_classes=False
    )
    with pytest.raises(AdapterError, match="no classes, only features"):
        list(headless.attributions(image_files, all_of(vit.sites), Readout(pool="mean")))


@pytest.mark.parametrize(
    ("family", "projection", "axis"),
    [
        ("gpt2", "transformer.h.1.mlp.c_proj.weight", 0),
        ("llama", "model.layers.1.mlp.down_proj.weight", 1),
    ],
)
def test_weight_attributions_equal_autograd(family: str, projection: str, axis: int) -> None:
    """Tensors and rows are |weight x gradient| of the same loss, taken by torch alone."""
    adapter = language_model(family)
    terms = mean_terms(texts(SENTENCES[:3]))
    found = adapter.weight_attributions(terms, adapter.sites, Readout())
    adapter.model.zero_grad()
    total = torch.zeros((), dtype=torch.float64)
    for content in SENTENCES[:3]:
        ids = torch.tensor([adapter.tokenizer(content)["input_ids"]])
        total = total + adapter.model(ids, labels=ids).loss / 3
    total.backward()
    products = {n: (p * p.grad).abs().detach() for n, p in adapter.model.named_parameters()}
    assert set(found.tensors) == set(products)
    for name, (n, amount) in found.tensors.items():
        assert n == products[name].numel()
        assert amount == pytest.approx(float(products[name].sum()), rel=1e-4), name
    neurons = adapter.sites.choose(["mlp-neurons"]).sites[1]
    rows = found.rows[adapter.sites.slices[neurons.name]]
    expected = products[projection].sum(dim=1 - axis).numpy()
    np.testing.assert_allclose(rows, expected, rtol=1e-3)
    assert found.sources[neurons.name] == projection
    block = adapter.sites.choose(["block"]).sites[1]  # computed by the same projection
    rows = found.rows[adapter.sites.slices[block.name]]
    np.testing.assert_allclose(rows, products[projection].sum(dim=axis).numpy(), rtol=1e-3)


def test_rows_of_a_convolution_are_its_output_channels(image_files: list[Stimulus]) -> None:
    """Units after a convolution have its weights, those of a vision block the down projection's."""
    resnet, vit = (
        timm_adapter.load(name, ModelOptions(untrained=True, device="cpu"))
        for name in ("test_resnet", "test_vit")
    )
    conv = resnet.sites.choose(["conv"])
    found = resnet.weight_attributions(mean_terms(image_files), conv, Readout(pool="mean"))
    weights = dict(resnet.module.named_parameters())
    for site in conv.sites:
        assert weights[found.sources[site.name]].shape[0] == site.n_units
        own = found.rows[conv.slices[site.name]]
        assert own.sum() == pytest.approx(found.tensors[found.sources[site.name]][1], rel=1e-3)
    blocks = vit.sites.choose(["block", "attention"])
    sources = vit.weight_attributions(mean_terms(image_files), blocks, Readout(pool="mean")).sources
    assert sources["blocks.0"] == "blocks.0.mlp.fc2.weight"
    assert sources["blocks.0.attn"] == "blocks.0.attn.proj.weight"


def test_square_layers_are_told_by_what_they_multiply() -> None:
    """GPT-2's layers hold inputs first, linear layers outputs, also where both are as many."""
    adapter = language_model("gpt2", n_inner=16)
    terms = mean_terms(texts(SENTENCES[:1]))
    found = adapter.weight_attributions(terms, adapter.sites, Readout())
    adapter.model.zero_grad()
    ids = torch.tensor([adapter.tokenizer(SENTENCES[0])["input_ids"]])
    adapter.model(ids, labels=ids).loss.backward()
    weight = adapter.model.transformer.h[0].mlp.c_proj.weight  # (input, output)
    product = (weight * weight.grad).abs().detach().numpy()
    neurons = adapter.sites.choose(["mlp-neurons"]).sites[0]
    rows = found.rows[adapter.sites.slices[neurons.name]]
    np.testing.assert_allclose(rows, product.sum(axis=1), rtol=1e-3)


def test_sites_that_do_not_run_are_named() -> None:
    """As when they are read."""
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    sites = Layout((Site("1", "block", 3),))
    with pytest.raises(AdapterError, match="site 1 takes no part"):
        attribute_batch(
            model, sites, all_of(sites), lambda: model[0](torch.ones(1, 3)).sum(1), n_stimuli=1
        )


def test_a_loss_without_gradient_is_one_line() -> None:
    """A model that takes its result out of the computation is named, not a traceback."""

    class Detached(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x).detach().sum(dim=1)

    model = Detached()
    sites = find_sites(model, ["layer"], lambda: model(torch.rand(2, 3)), 2)
    with pytest.raises(AdapterError, match="the loss has no gradient at site layer"):
        attribute_batch(model, sites, all_of(sites), lambda: model(torch.rand(2, 3)), n_stimuli=2)
