"""Edits that tell positions and stimuli apart, in models of torch: padding, batches, caches."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import deeploc
from deeploc.adapters._text.adapter import HFAdapter
from deeploc.adapters._torch.batching import padded
from deeploc.analysis.localization import localize
from deeploc.analysis.position_activations import read_donors, read_moments
from deeploc.contrast.model import Contrast
from deeploc.core.ablation import Ablation, ForwardPass
from deeploc.core.adapter import Sampling, TextRequest
from deeploc.core.modes import Modes
from deeploc.core.position_classes import PositionMoments
from deeploc.core.readout import Readout
from deeploc.core.units import UnitMask
from deeploc.errors import AdapterError
from deeploc.plugins import load_model
from deeploc.stimuli import Stimulus

from .conftest import LISTS, SENTENCES, hooks_of, model_of, texts, tokenizer_of, values_of
from .test_edits import first_units, image_adapter

FAMILIES = ("gpt2", "llama", "mistral", "bloom")
STIMULI = {"abc": tuple(texts(SENTENCES)), "def": tuple(texts(LISTS))}


def adapter_of(family: str, *, bos: bool = True, **options: Any) -> HFAdapter:
    return HFAdapter(model_of(family), tokenizer_of(bos=bos), family, **options)


def modes_of(adapter: Any, stimuli: Any = STIMULI, **read: Any) -> Modes:
    """Return the modes for a contrast between sentences and lists."""
    contrast = Contrast.model_validate(
        {
            "name": "sentences",
            "title": "sentences > lists",
            "modality": "text",
            "source": "made for the tests",
            "conditions": {name: {"texts": SENTENCES} for name in ("abc", "def")},
            "contrast": "abc > def",
            "read": {"sites": ["*"], **read},
        }
    )
    stat_map = localize(adapter, contrast, stimuli)
    return Modes(
        stat_map,
        lambda: read_moments(adapter, contrast, stimuli, stat_map),
        lambda: read_donors(adapter, contrast, stimuli),
    )


@contextmanager
def held_by_hand(adapter: HFAdapter, edit: Ablation) -> Iterator[None]:
    """Hold units by plain torch hooks in passes over whole texts: position 0, then all others."""
    assert edit.offset is not None
    assert edit.first is not None
    handles = []

    def hold(x: Tensor, site: str) -> Tensor:
        x = x.clone()
        units, part = torch.from_numpy(edit.mask.at(site)), edit.mask.layout.slices[site]
        x[:, 1:, units] = torch.from_numpy(edit.offset[part]).float()[units]
        x[:, 0, units] = torch.from_numpy(edit.first[part]).float()[units]
        return x

    def after(site: str) -> Callable[..., Any]:
        def hook(_m: Any, _a: Any, out: Any) -> Any:
            return (hold(out[0], site), *out[1:]) if isinstance(out, tuple) else hold(out, site)

        return hook

    def before(site: str) -> Callable[..., Any]:
        return lambda _m, args: (hold(args[0], site), *args[1:])

    for site in adapter.sites.sites:
        module = adapter.model.get_submodule(site.path)
        if site.tap == "output":
            handles.append(module.register_forward_hook(after(site.name)))
        else:
            handles.append(module.register_forward_pre_hook(before(site.name)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def ids_of(adapter: HFAdapter, text: str) -> list[int]:
    return list(adapter.tokenizer(text)["input_ids"])


@torch.no_grad()
def logits_alone(adapter: HFAdapter, ids: list[int]) -> np.ndarray:
    return adapter.model(torch.tensor([ids]), use_cache=False).logits[0].numpy()


@pytest.fixture(scope="module", params=FAMILIES)
def prepared(request: pytest.FixtureRequest) -> tuple[HFAdapter, Ablation]:
    """Return an adapter, and mean ablation of the first three units of every site."""
    adapter = adapter_of(request.param)
    edit = modes_of(adapter).edit("mean", first_units(adapter.sites))
    assert isinstance(edit, Ablation)
    assert edit.has_first
    return adapter, edit


def test_mean_by_class_of_position_is_that_of_plain_hooks(
    prepared: tuple[HFAdapter, Ablation],
) -> None:
    """Alone, and in a batch with padding on the right: at every position of every text."""
    adapter, edit = prepared
    rows = [ids_of(adapter, text) for text in SENTENCES]
    with held_by_hand(adapter, edit):
        expected = [logits_alone(adapter, row) for row in rows]
    before = hooks_of(adapter.model)
    ids, attended = padded([np.array(row) for row in rows])
    assert attended is not None
    with adapter.ablated(edit), torch.no_grad():
        alone = [logits_alone(adapter, row) for row in rows]
        batch = adapter.model(ids, attention_mask=attended.long(), use_cache=False).logits.numpy()

    for number, row in enumerate(rows):
        np.testing.assert_allclose(alone[number], expected[number], rtol=1e-4, atol=1e-4)
        together = batch[number, : len(row)]
        np.testing.assert_allclose(together, expected[number], rtol=1e-3, atol=1e-3)
    assert hooks_of(adapter.model) == before


def test_scores_under_mean_by_class_are_those_of_plain_hooks(
    prepared: tuple[HFAdapter, Ablation],
) -> None:
    """The log-probabilities that tasks measure, with requests of several lengths at once."""
    adapter, edit = prepared
    requests = [TextRequest("", text) for text in SENTENCES]
    with held_by_hand(adapter, edit):
        expected = [adapter.score([request])[0].logprob for request in requests]
    with adapter.ablated(edit):
        scored = [score.logprob for score in adapter.score(requests)]

    np.testing.assert_allclose(scored, expected, rtol=1e-4)


@pytest.mark.parametrize("prompt", ["", "the bird sang"])
def test_generated_text_is_that_of_plain_hooks_without_a_cache(
    prepared: tuple[HFAdapter, Ablation], prompt: str
) -> None:
    """Greedily, token by token over the whole text: also after a prompt of one token."""
    adapter, edit = prepared
    ids = ids_of(adapter, prompt)
    assert prompt or len(ids) == 1
    continued = list(ids)
    with held_by_hand(adapter, edit):
        for _ in range(6):
            continued.append(int(logits_alone(adapter, continued)[-1].argmax()))
            if continued[-1] == adapter.tokenizer.eos_token_id:
                break
    with adapter.ablated(edit):
        made = adapter.generate(prompt, Sampling(max_tokens=6))

    expected = adapter.tokenizer.decode(continued, skip_special_tokens=True)
    assert prompt + made == expected


@dataclass
class Watching:
    """An edit that changes nothing and notes what it is told of every forward pass."""

    mask: UnitMask
    key: str = "watching"
    seen: list[tuple[ForwardPass, int]] = field(default_factory=list)

    def edited(self, site: str, values: np.ndarray, forward_pass: ForwardPass) -> np.ndarray:
        if site == self.mask.layout.sites[0].name:
            self.seen.append((forward_pass, values.shape[1]))
        return values


@pytest.mark.parametrize("family", [*FAMILIES, "mamba"])
def test_passes_of_generated_text_follow_each_other(family: str) -> None:
    """The prompt, then token by token, then once the whole text: all of them one stimulus."""
    small = {"hidden_size": 16, "num_hidden_layers": 2, "state_size": 4}
    model = model_of(family) if family != "mamba" else _mamba(small)
    adapter = HFAdapter(model, tokenizer_of(bos=True), family)
    watching = Watching(first_units(adapter.sites.scalars()))
    n_prompt = len(ids_of(adapter, "the bird sang"))
    adapter.tokenizer.eos_token = None
    adapter.model.generation_config.eos_token_id = None
    with adapter.ablated(watching):
        adapter.generate("the bird sang", Sampling(max_tokens=4))
        adapter.generate("three of the boys", Sampling(max_tokens=2))
    passes = [forward_pass for forward_pass, _ in watching.seen]

    assert [n for _, n in watching.seen[:5]] == [n_prompt, 1, 1, 1, n_prompt + 3]
    assert [p.start for p in passes[:5]] == [0, n_prompt, n_prompt + 1, n_prompt + 2, 0]
    assert passes[5].start == 0
    assert len({p.stimuli for p in passes[:5]}) == 1
    assert passes[5].stimuli == passes[6].stimuli != passes[0].stimuli


def _mamba(size: dict[str, int]) -> Any:
    from transformers import MambaConfig, MambaForCausalLM

    torch.manual_seed(0)
    return MambaForCausalLM(MambaConfig(vocab_size=330, **size)).eval()


def test_a_stimulus_is_the_same_in_every_batch() -> None:
    """Neither padding nor the rest of the batch changes its number; another text has another."""
    adapter = adapter_of("gpt2")
    rows = [np.array(ids_of(adapter, text)) for text in SENTENCES]
    watching = Watching(first_units(adapter.sites.scalars()))
    with adapter.ablated(watching), torch.no_grad():
        for row in rows:
            adapter.model(torch.from_numpy(row)[None])
        ids, attended = padded(rows)
        assert attended is not None
        adapter.model(input_ids=ids, attention_mask=attended.long())
    *alone, together = [forward_pass.stimuli for forward_pass, _ in watching.seen]

    assert [number for (number,) in alone] == list(together)
    assert len(set(together)) == len(rows)


@pytest.mark.parametrize("mode", ["resample", "noise"])
def test_resample_and_noise_do_not_depend_on_the_batch_size(mode: str) -> None:
    """One text per forward pass, or eight: the same activations and scores."""
    adapters = [adapter_of("llama")]
    adapters += [HFAdapter(adapters[0].model, adapters[0].tokenizer, "x") for _ in range(2)]
    edit = modes_of(adapters[0]).edit(mode, first_units(adapters[0].sites))
    stimuli = texts([*SENTENCES, *LISTS])
    requests = [TextRequest("", str(stimulus.content)) for stimulus in stimuli]
    values, scores = [], []
    for adapter, size in zip(adapters, (None, 1, 8), strict=True):
        adapter._options = type(adapter._options)(batch_size=size)
        with adapter.ablated(edit):
            values.append(values_of(adapter, stimuli, adapter.sites, pool="mean"))
            scores.append([score.logprob for score in adapter.score(requests)])
    intact = values_of(adapters[0], stimuli[: len(SENTENCES)], adapters[0].sites, pool="mean")

    for number in (1, 2):
        np.testing.assert_allclose(values[number], values[0], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(scores[number], scores[0], rtol=1e-4)
    assert (np.abs(values[0][: len(intact)] - intact).max(axis=1) > 1e-2).all()


def test_a_pass_that_bypasses_the_model_is_an_error_where_stimuli_count() -> None:
    """Called in parts, the model does not say what it is shown."""
    adapter = adapter_of("gpt2")
    with (
        pytest.raises(AdapterError, match="what the model is shown is not known"),
        adapter.ablated(Watching(first_units(adapter.sites.scalars()))),
    ):
        adapter.model.base_model.forward(torch.tensor([[1, 2, 3]]))


def test_where_every_position_is_a_unit_there_is_one_class() -> None:
    """Pool none: the mean is the baseline over all stimuli, the sd that of the sample."""
    adapter = image_adapter()
    modes = modes_of(adapter, pool="none")
    assert modes.moments is not None
    moments = modes.moments()
    every = [s for group in STIMULI.values() for s in group]
    values = values_of(adapter, every, moments.layout, pool="none")

    assert not moments.has_classes
    np.testing.assert_array_equal(moments.mean, modes.stat_map.baseline)
    np.testing.assert_allclose(moments.sd, values.std(axis=0, ddof=1), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("pool", ["mean", "max", "none"])
@pytest.mark.parametrize("mode", ["mean", "resample", "noise"])
def test_modes_in_maps(pool: str, mode: str) -> None:
    """Held units read as what is put in place: a constant, maps of a donor, or noise."""
    adapter = image_adapter()
    modes = modes_of(adapter, pool=pool)
    layout = modes.stat_map.layout
    last = UnitMask(layout, np.arange(layout.n_units) >= layout.slices["2"].start)
    edit = modes.edit(mode, last)
    assert modes.donors is not None
    every = [s for group in STIMULI.values() for s in group]
    with adapter.ablated(edit):
        rows = dict(adapter.positions(every, adapter.sites, Readout()))
    seen = [rows[number]["2"] for number in range(len(every))]
    flat = np.stack(seen).reshape(len(seen), -1)

    if mode == "resample":
        donors = [donor["2"].reshape(-1) for donor in modes.donors().stimuli]
        for row in flat:
            assert any(np.allclose(row, donor, rtol=1e-6) for donor in donors)
    elif mode == "mean":
        assert np.ptp(flat, axis=0).max() == 0
        assert (np.ptp(seen[0], axis=0).max() == 0) == (pool != "none")
    else:
        n_images = len({len(s.content) for s in every})
        assert len(np.unique(flat)) == n_images * flat.shape[1]


@pytest.fixture(scope="module")
def vit(image_folder: list[Stimulus]) -> tuple[Any, Modes]:
    adapter = load_model("reference:vit")
    stimuli = {"abc": tuple(image_folder[:2]), "def": tuple(image_folder[2:])}
    return adapter, modes_of(adapter, stimuli, pool="mean")


@pytest.fixture(scope="module")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> list[Stimulus]:
    from PIL import Image

    folder, rng = tmp_path_factory.mktemp("noise"), np.random.default_rng(0)
    for number in range(4):
        pixels = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return [Stimulus(f"{n}.png", folder / f"{n}.png") for n in range(4)]


def test_the_class_token_has_a_mean_of_its_own(
    vit: tuple[Any, Modes], image_folder: list[Stimulus]
) -> None:
    """Position 0 is held at the mean over class tokens, patches at the mean over patches."""
    adapter, modes = vit
    (site,) = [site for site in adapter.sites.sites if site.class_token][-1:]
    mask = first_units(adapter.sites)
    rows = dict(adapter.positions(image_folder, adapter.sites, Readout()))
    shown = np.stack([rows[number][site.name] for number in range(4)])
    with adapter.ablated(modes.edit("mean", mask)):
        edited = dict(adapter.positions(image_folder, adapter.sites, Readout()))

    tokens = shown[:, 0, :3].mean(axis=0)
    patches = shown[:, 1:, :3].mean(axis=(0, 1))
    assert np.abs(tokens - patches).min() > 1e-4
    for number in range(4):
        held = edited[number][site.name][:, :3]
        np.testing.assert_allclose(held[0], tokens, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(held[1:] - patches, 0, atol=1e-5)


class Sink(nn.Module):
    """Every position is divided by unit 0 of the first one, where it is 1,000 and elsewhere 1."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Linear(3, 3, bias=False)
        with torch.no_grad():
            self.block.weight.copy_(torch.eye(3))

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.block(x)
        return hidden[..., 1:] * 1000 / hidden[:, :1, :1]


def _tokens(contents: list[Any]) -> Tensor:
    letters = [[float(ord(c) % 7) for c in str(content)[:4]] for content in contents]
    x = torch.tensor(letters)[..., None].repeat(1, 1, 3)
    x[..., 0] = 1.0
    x[:, 0, 0] = 1000.0
    return x


def test_a_massive_unit_is_missed_at_zero_and_at_one_mean_but_not_at_its_mean_by_class() -> None:
    """Sun et al. (2024), arXiv 2402.17762, table 3, in a module made by hand."""
    adapter = deeploc.wrap(Sink(), preprocess=_tokens, sites=["block"])
    modes = modes_of(adapter, pool="last")
    mask = UnitMask(adapter.sites, np.arange(3) == 0)
    shown = _tokens([s.content for s in STIMULI["abc"]])
    intact = adapter.module(shown)
    outputs = {}
    for name, edit in (
        ("zero", modes.edit("zero", mask)),
        ("one mean", Ablation.of("mean", mask, modes.stat_map)),
        ("mean by class", modes.edit("mean", mask)),
    ):
        with adapter.ablated(edit), torch.no_grad():
            outputs[name] = adapter.module(shown)

    assert not outputs["zero"].isfinite().all()
    torch.testing.assert_close(outputs["one mean"], 1000 * intact)
    torch.testing.assert_close(outputs["mean by class"], intact)


def test_moments_of_a_text_model_tell_its_first_token_apart() -> None:
    """With a beginning-of-text token the first position is the same in every text: sd 0."""
    adapter = adapter_of("llama")
    modes = modes_of(adapter)
    assert modes.moments is not None
    moments: PositionMoments = modes.moments()

    np.testing.assert_allclose(moments.sd_first, 0.0, atol=1e-5)
    assert (moments.sd > 1e-3).all()
