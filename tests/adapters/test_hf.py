"""The hf adapter: tokens, batches, ablation, scoring, generation, identity, errors."""

import json
import logging
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from transformers import ByT5Tokenizer

from deeploc.adapters._text.adapter import HFAdapter
from deeploc.adapters._text.score import Encoded, score_encoded
from deeploc.adapters.hf import load
from deeploc.core.ablation import Ablation
from deeploc.core.adapter import ModelOptions, Sampling, TextRequest
from deeploc.core.readout import Readout
from deeploc.core.units import Layout, Site, UnitMask
from deeploc.errors import AdapterError, MaskError
from deeploc.testing import check_adapter

from .conftest import LISTS, MIXED, SENTENCES, hooks_of, model_of, texts, tokenizer_of, values_of

Make = Callable[..., HFAdapter]
STIMULI = texts(SENTENCES + LISTS)


@pytest.fixture(scope="module")
def llama() -> HFAdapter:
    return HFAdapter(model_of("llama"), tokenizer_of(bos=True), "llama")


@pytest.fixture(scope="module")
def gpt2() -> HFAdapter:
    return HFAdapter(model_of("gpt2"), tokenizer_of(), "gpt2")


@pytest.mark.parametrize("family", ["gpt2", "llama", "opt"])
def test_keeps_the_contract(adapter_of: Make, family: str) -> None:
    """Loaded from a folder, the adapter does what every adapter promises."""
    check_adapter(adapter_of(family, bos=True), texts(MIXED))


# reading


def welch(values: np.ndarray) -> np.ndarray:
    half = len(SENTENCES)
    test = scipy_stats.ttest_ind(values[:half], values[half:], axis=0, equal_var=False)
    return np.asarray(test.statistic)


AFTER_MIXING = ("block", "mlp-neurons", "heads")
"""Kinds at which no two texts are nearly equal, as equal tokens are in the embedding."""


@cache
def t_alone(family: str, pool: str) -> np.ndarray:
    """Return t from texts read one at a time."""
    options = ModelOptions(batch_size=1)
    alone = HFAdapter(model_of(family), tokenizer_of(bos=True), family, options)
    return welch(values_of(alone, STIMULI, alone.sites.choose(AFTER_MIXING), pool=pool))


@settings(max_examples=15, deadline=None)
@given(
    batch_size=st.none() | st.integers(1, 7),
    order=st.permutations(range(len(STIMULI))),
    family=st.sampled_from(["gpt2", "llama", "bloom"]),
    pool=st.sampled_from(["last", "mean", "max"]),
    padding=st.sampled_from(["left", "right"]),
)
def test_t_does_not_depend_on_batches_order_or_padding_side(
    batch_size: int | None, order: list[int], family: str, pool: str, padding: str
) -> None:
    """t does not depend on which texts share a batch, nor on the tokenizer's padding side."""
    model, tokenizer = model_of(family), tokenizer_of(bos=True)
    tokenizer.padding_side = padding
    adapter = HFAdapter(model, tokenizer, family, ModelOptions(batch_size=batch_size))
    layout = adapter.sites.choose(AFTER_MIXING)
    shuffled = values_of(adapter, [STIMULI[i] for i in order], layout, pool=pool)
    values = shuffled[np.argsort(order)]

    np.testing.assert_allclose(welch(values), t_alone(family, pool), rtol=1e-5, atol=1e-5)


def test_long_texts_are_padded_and_read_as_if_alone(llama: HFAdapter) -> None:
    """Lengths within 2 % share a batch, and the padding leaves no trace."""
    words = " ".join(SENTENCES).split()
    long = texts([" ".join(words[i : i + 15]) for i in range(8)] * 3)
    one = HFAdapter(llama.model, llama.tokenizer, "one", ModelOptions(batch_size=1))
    for pool in ("last", "mean", "max"):
        np.testing.assert_allclose(
            values_of(llama, long, llama.sites, pool=pool),
            values_of(one, long, llama.sites, pool=pool),
            rtol=1e-4,
            atol=1e-4,
        )


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_read_as_float32(adapter_of: Make, dtype: Any) -> None:
    """Half weights give float32 values near those of float32 weights."""
    half, full = adapter_of("llama", dtype=dtype), adapter_of("llama")
    (batch, *_) = half.activations(STIMULI[:1], half.sites, Readout())
    values, expected = (values_of(a, STIMULI, a.sites, pool="mean") for a in (half, full))

    assert batch.values.dtype == np.float32
    assert half.identity["dtype"] == dtype
    assert np.corrcoef(values.ravel(), expected.ravel())[0, 1] > 0.99


def by_hand(adapter: HFAdapter, text: str, position: int, max_tokens: int | None = None) -> Any:
    """Return the first block's hidden state at a position of the tokenizer's own encoding."""
    cut = {"truncation": True, "max_length": max_tokens} if max_tokens else {}
    ids = torch.tensor([adapter.tokenizer(text, **cut)["input_ids"]])
    with torch.no_grad():
        states = adapter.model(ids, output_hidden_states=True).hidden_states
    return states[1][0, position].numpy()


def first_block(adapter: HFAdapter) -> Layout:
    return Layout(adapter.sites.choose(["block"]).sites[:1])


@pytest.mark.parametrize("bos", [True, False])
@pytest.mark.parametrize("eos", [True, False])
def test_content_reads_the_last_word_end(bos: bool, eos: bool) -> None:
    """Neither an appended end-of-text token nor trailing space is read, nor the start of a word."""
    adapter = HFAdapter(model_of("llama"), tokenizer_of(bos=bos, eos=eos), "llama")
    text = "the old woman reads. "
    n = len(adapter.tokenizer("the old woman reads.", add_special_tokens=False)["input_ids"])
    values = values_of(adapter, texts([text]), first_block(adapter))
    literal = values_of(adapter, texts([text]), first_block(adapter), tokens="all")

    np.testing.assert_allclose(values[0], by_hand(adapter, text, bos + n - 1), atol=1e-5)
    np.testing.assert_allclose(literal[0], by_hand(adapter, text, -1), atol=1e-5)


def test_truncated_word_is_not_read(llama: HFAdapter) -> None:
    """Cut inside a word, content reads the end of the word before; `all` reads the very last."""
    text = "the old farmers"
    tokens = llama.tokenizer(text)["input_ids"]
    n_old = len(llama.tokenizer("the old")["input_ids"])
    limit = len(tokens) - 1
    assert limit > n_old  # "farmers" is more than one token
    values = values_of(llama, texts([text]), first_block(llama), max_tokens=limit)
    literal = values_of(llama, texts([text]), first_block(llama), max_tokens=limit, tokens="all")

    np.testing.assert_allclose(values[0], by_hand(llama, text, n_old - 1), atol=1e-5)
    np.testing.assert_allclose(literal[0], by_hand(llama, text, -1, limit), atol=1e-5)


def test_mean_of_content_leaves_special_tokens_out() -> None:
    """The mean is over what the text itself has, not over what the tokenizer adds."""
    adapter = HFAdapter(model_of("llama"), tokenizer_of(bos=True, eos=True), "llama")
    text = SENTENCES[0]
    n = len(adapter.tokenizer(text)["input_ids"])
    values = values_of(adapter, texts([text]), first_block(adapter), pool="mean")
    every = np.stack([by_hand(adapter, text, i) for i in range(n)])

    np.testing.assert_allclose(values[0], every[1:-1].mean(0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("content", ["", "  \n"])
def test_empty_text_is_named(gpt2: HFAdapter, content: str) -> None:
    """The message says which stimulus has nothing to read."""
    with pytest.raises(AdapterError, match=r"^stimulus texts:1 has no token to read: "):
        values_of(gpt2, texts(["the bird", content]), gpt2.sites)


def test_text_cut_before_its_first_word_ends_is_named(gpt2: HFAdapter) -> None:
    """No token ends a word: an error with the remedy, not some other token."""
    with pytest.raises(AdapterError, match=r"texts:0: none of its first 2 tokens ends a word; rai"):
        values_of(gpt2, texts(["incomprehensibilities"]), gpt2.sites, max_tokens=2)


def test_text_longer_than_the_context_is_truncated_with_a_warning(
    gpt2: HFAdapter, caplog: pytest.LogCaptureFixture
) -> None:
    """Longer texts than the model can take are truncated; one warning has their number."""
    long = "the bird sang " * 60
    with caplog.at_level(logging.WARNING):
        values = values_of(gpt2, texts([long, long, "the bird"]), gpt2.sites)

    assert np.isfinite(values).all()
    assert [r.getMessage() for r in caplog.records] == [
        "2 texts are longer than the model's context of 64 tokens and were truncated"
    ]


@pytest.mark.parametrize("slow", [False, True])
def test_texts_are_cut_at_their_end(slow: bool) -> None:
    """Whatever side the tokenizer would cut, beginnings are read; its own setting comes back."""
    tokenizer = ByT5Tokenizer() if slow else tokenizer_of(bos=True)
    model = model_of("gpt2", vocab_size=400)
    values = []
    for side in ("right", "left"):
        tokenizer.truncation_side = side
        adapter = HFAdapter(model, tokenizer, "gpt2")
        values.append(values_of(adapter, STIMULI, adapter.sites, max_tokens=6, tokens="all"))
        kept = adapter.tokenization(STIMULI, Readout(max_tokens=6, tokens="all")).kept
        assert tokenizer.truncation_side == side
        assert kept.max() <= 6
    short = [" ".join(str(s.content).split()[:6]) for s in STIMULI]
    same = values_of(adapter, texts(short), adapter.sites, max_tokens=6, tokens="all")

    np.testing.assert_array_equal(values[0], values[1])
    np.testing.assert_allclose(values[1], same, rtol=1e-4, atol=1e-4)


@cache
def set_up_plainly(max_tokens: int | None) -> tuple[Any, ...]:
    """Return what a model and a tokenizer without settings read, score, generate, and are."""
    plain = HFAdapter(model_of("llama"), tokenizer_of(bos=True, pad=True), "llama")
    return measured(plain, max_tokens)


def measured(adapter: HFAdapter, max_tokens: int | None) -> tuple[Any, ...]:
    requests = [TextRequest(SENTENCES[0], " sang"), TextRequest("", SENTENCES[1])]
    return (
        values_of(adapter, STIMULI, adapter.sites, max_tokens=max_tokens).tolist(),
        adapter.score(requests),
        adapter.generate("the old", Sampling(3)),
        adapter.identity,
    )


@settings(max_examples=25, deadline=None)
@given(
    sides=st.tuples(*[st.sampled_from(["left", "right"])] * 2),
    longest=st.sampled_from([1, 5, 1_000_000]),
    truncates=st.booleans(),
    pads=st.booleans(),
    max_tokens=st.sampled_from([None, 6]),
)
def test_settings_of_the_tokenizer_do_not_matter(
    sides: tuple[str, str], longest: int, truncates: bool, pads: bool, max_tokens: int | None
) -> None:
    """Sides and lengths of padding and truncation that a checkpoint suggests change no number."""
    tokenizer = tokenizer_of(bos=True, pad=True)
    tokenizer.padding_side, tokenizer.truncation_side = sides
    tokenizer.model_max_length = longest
    if truncates:
        tokenizer.backend_tokenizer.enable_truncation(3, direction=sides[1])
    if pads:
        tokenizer.backend_tokenizer.enable_padding(direction=sides[0], length=40)
    set_up = HFAdapter(model_of("llama"), tokenizer, "llama")

    assert measured(set_up, max_tokens) == set_up_plainly(max_tokens)


def test_image_pool_is_refused(gpt2: HFAdapter) -> None:
    """`cls` has no meaning for text."""
    with pytest.raises(AdapterError, match="pool 'cls' does not apply"):
        values_of(gpt2, STIMULI, gpt2.sites, pool="cls")


def test_no_language_model_head_while_reading(gpt2: HFAdapter) -> None:
    """Nobody reads the logits, so they are not computed."""
    calls: list[int] = []
    handle = gpt2.model.lm_head.register_forward_hook(lambda *_: calls.append(1))
    values_of(gpt2, STIMULI, gpt2.sites)
    handle.remove()

    assert not calls


def test_tokenizer_of_another_model_is_refused() -> None:
    """A token without an embedding is an AdapterError, not an IndexError."""
    adapter = HFAdapter(model_of("gpt2", vocab_size=90), tokenizer_of(), "small")
    with pytest.raises(
        AdapterError, match=r"the tokenizer gives token \d+ but model 'small' has o"
    ):
        values_of(adapter, STIMULI, adapter.sites)


# ablating


def mask_of(adapter: HFAdapter, kind: str = "block", every: int = 3) -> UnitMask:
    layout = adapter.sites.choose([kind])
    return UnitMask(layout, np.arange(layout.n_units) % every == 0)


def test_scale_and_offset_are_affine(gpt2: HFAdapter, rng: np.random.Generator) -> None:
    """gain * x + offset on the selected units of the first site."""
    mask = UnitMask(first_block(gpt2), np.arange(16) % 2 == 0)
    offset = rng.normal(size=16)
    intact = values_of(gpt2, STIMULI, mask.layout)
    with gpt2.ablated(Ablation(mask, gain=-0.5, offset=offset)):
        edited = values_of(gpt2, STIMULI, mask.layout)
    expected = np.where(mask.selected, -0.5 * intact + offset, intact)

    np.testing.assert_allclose(edited, expected, rtol=1e-6, atol=1e-6)


def test_silence_beats_infinity() -> None:
    """Gain 0 writes the offset; it does not multiply, which would leave nan."""
    model = model_of("gpt2")
    model.transformer.h[0].mlp.c_proj.bias.data[3] = torch.inf
    adapter = HFAdapter(model, tokenizer_of(), "broken")
    mask = UnitMask(first_block(adapter), np.arange(16) == 3)
    with adapter.ablated(Ablation(mask)):
        values = values_of(adapter, STIMULI, adapter.sites.choose(["block", "mlp-neurons"]))

    assert np.isfinite(values).all()


def test_nested_ablations_add_up_and_are_undone(gpt2: HFAdapter) -> None:
    """An inner ablation comes on top of the outer one; leaving either undoes just that one."""
    layout = first_block(gpt2)
    even, third = (UnitMask(layout, np.arange(16) % n == 0) for n in (2, 3))
    before = hooks_of(gpt2.model)
    with gpt2.ablated(Ablation(even)):
        with pytest.raises(KeyError), gpt2.ablated(Ablation(third)):
            both = values_of(gpt2, STIMULI, layout)
            raise KeyError
        outer = values_of(gpt2, STIMULI, layout)

    assert (both[:, even.selected | third.selected] == 0).all()
    assert (outer[:, even.selected] == 0).all()
    assert (outer[:, third.selected & ~even.selected] != 0).any()
    assert hooks_of(gpt2.model) == before


def test_only_sites_with_selected_units_are_hooked(gpt2: HFAdapter) -> None:
    """An ablation costs nothing where it does nothing."""
    mask = UnitMask(gpt2.sites, np.zeros(gpt2.sites.n_units, dtype=bool))
    before = hooks_of(gpt2.model)
    with gpt2.ablated(Ablation(mask)):
        assert hooks_of(gpt2.model) == before


def test_mask_of_another_model_is_refused(gpt2: HFAdapter, llama: HFAdapter) -> None:
    """The message names the sites on both sides and the remedy."""
    with pytest.raises(MaskError) as error, gpt2.ablated(Ablation(mask_of(llama))):
        pass
    wider = Layout((Site("transformer.h.0", "block", 17),))
    with pytest.raises(MaskError, match=r"\[transformer.h.0 \(17\)\] but this model has"):
        gpt2.ablated(Ablation(UnitMask(wider, np.ones(17, dtype=bool))))

    assert str(error.value) == (
        "mask was made for sites [model.layers.0 (16), model.layers.1 (16)] but this model has "
        "[transformer.h.0 (16), transformer.h.1 (16)]; re-run `deeploc localize` on this model"
    )


# scoring


def test_score_splits_where_the_prompt_ends(llama: HFAdapter) -> None:
    """The completion's log-probability is the sum over its own tokens, given the prompt's."""
    prompt, completion = "the old woman", " reads a letter"
    (score,) = llama.score([TextRequest(prompt, completion)])
    ids = torch.tensor([llama.tokenizer(prompt + completion)["input_ids"]])
    n = ids.shape[1] - len(llama.tokenizer(prompt)["input_ids"])
    with torch.no_grad():
        logprobs = llama.model(ids).logits[0, :-1].log_softmax(-1)
    targets = ids[0, 1:]
    taken = logprobs[torch.arange(len(targets)), targets][-n:]

    assert score.n_tokens == n
    assert score.logprob == pytest.approx(float(taken.sum()), rel=1e-5)
    assert score.greedy == bool((logprobs.argmax(-1) == targets)[-n:].all())


def test_tokens_merged_across_the_split_count_as_completion(gpt2: HFAdapter) -> None:
    """`wo|man` is tokenized as `woman`: all that is not the prompt's own is scored."""
    whole = gpt2.tokenizer("the woman")["input_ids"]
    prompt = gpt2.tokenizer("the wo")["input_ids"]
    shared = next(i for i, (a, b) in enumerate(zip(whole, prompt, strict=False)) if a != b)
    (score,) = gpt2.score([TextRequest("the wo", "man")])

    assert shared < len(prompt)
    assert score.n_tokens == len(whole) - shared


@pytest.mark.parametrize(("bos", "first"), [(True, 0), (False, 1)])
@pytest.mark.parametrize("eos", [True, False])
def test_first_token_needs_something_before_it(bos: bool, first: int, eos: bool) -> None:
    """With a beginning-of-text token all tokens are scored, else all but one; never the end."""
    adapter = HFAdapter(model_of("llama"), tokenizer_of(bos=bos, eos=eos), "llama")
    n = len(adapter.tokenizer("the bird sang", add_special_tokens=False)["input_ids"])

    assert adapter.score([TextRequest("", "the bird sang")])[0].n_tokens == n - first
    assert adapter.score([TextRequest("the bird", " sang")])[0].n_tokens < n - first


def test_scores_keep_their_order_and_do_not_depend_on_batches(gpt2: HFAdapter) -> None:
    """Requests of mixed length and kind come back where they were."""
    requests = [TextRequest("", t) for t in SENTENCES + LISTS]
    requests += [TextRequest(t, " sang") for t in SENTENCES] + [TextRequest("", "b")]
    one = HFAdapter(gpt2.model, gpt2.tokenizer, "one", ModelOptions(batch_size=1))
    together, alone = gpt2.score(requests), one.score(requests)

    assert [s.n_tokens for s in together] == [s.n_tokens for s in alone]
    assert [s.greedy for s in together] == [s.greedy for s in alone]
    np.testing.assert_allclose(
        [s.logprob for s in together], [s.logprob for s in alone], rtol=1e-4, atol=1e-5
    )
    assert together[-1].n_tokens == 0


def test_scores_follow_the_ablation(gpt2: HFAdapter) -> None:
    """Remembered requests are scored anew by the model as it is now."""
    request = [TextRequest("", SENTENCES[0])]
    intact = gpt2.score(request)
    with gpt2.ablated(Ablation(mask_of(gpt2))):
        ablated = gpt2.score(request)

    assert intact != ablated
    assert gpt2.score(request) == intact


def test_broken_model_gives_no_probability() -> None:
    """nan logits score minus infinity, and are not greedy."""
    model = model_of("gpt2")
    model.transformer.h[0].mlp.c_proj.bias.data[0] = torch.nan
    (score,) = HFAdapter(model, tokenizer_of(), "nan").score([TextRequest("", SENTENCES[0])])

    assert score.logprob == -np.inf
    assert not score.greedy


def test_equal_logits_have_one_greedy_token(gpt2: HFAdapter) -> None:
    """A model without preferences has one greedy completion, the first token, not all of them."""
    model = model_of("gpt2")
    model.lm_head.weight = torch.nn.Parameter(torch.zeros_like(model.lm_head.weight))
    flat = HFAdapter(model, gpt2.tokenizer, "flat")
    first = gpt2.tokenizer.decode([0])
    requests = [TextRequest("the bird", option) for option in (first, " sang", " today")]
    scores = flat.score(requests)

    assert len(gpt2.tokenizer(first)["input_ids"]) == 1
    assert [score.greedy for score in scores] == [True, False, False]
    expected = [-score.n_tokens * np.log(model.config.vocab_size) for score in scores]
    assert [score.logprob for score in scores] == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(5))
def test_scores_are_transformers_own(gpt2: HFAdapter, seed: int) -> None:
    """Log-probability and greedy token equal those of the logits of each text alone."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(1, gpt2.model.config.vocab_size, 6)
    with torch.no_grad():
        logits = gpt2.model(torch.from_numpy(ids[None])).logits[0].double()
    best = int(logits[-1].argmax())
    encoded = [Encoded(np.append(ids, token).astype(np.int32), 6) for token in range(1, 40)]
    encoded.append(Encoded(np.append(ids, best).astype(np.int32), 6))
    scores = score_encoded(gpt2._lm, encoded, None)
    expected = logits[-1].log_softmax(-1)

    for score, request in zip(scores, encoded, strict=True):
        token = int(request.ids[-1])
        assert score.logprob == pytest.approx(float(expected[token]), rel=1e-5)
        assert score.greedy == (token == best)


def test_long_prompt_loses_its_beginning(gpt2: HFAdapter) -> None:
    """The end of the prompt and the completion fill the context exactly."""
    prompt, completion = "the bird sang " * 40, "today"
    tokens = gpt2.tokenizer(prompt + completion)["input_ids"]
    (score,) = gpt2.score([TextRequest(prompt, completion)])
    ids = torch.tensor([tokens[-65:]])
    with torch.no_grad():
        logprobs = gpt2.model(ids[:, :-1]).logits[0].log_softmax(-1)
    taken = logprobs[torch.arange(64), ids[0, 1:]][-score.n_tokens :]

    assert score.logprob == pytest.approx(float(taken.sum()), rel=1e-5)


def test_prompts_that_lose_their_beginning_are_counted_once(
    gpt2: HFAdapter, caplog: pytest.LogCaptureFixture
) -> None:
    """One warning with the number of prompts; the same requests warn no more, ablated or not."""
    adapter = HFAdapter(gpt2.model, gpt2.tokenizer, "gpt2")
    long, longer = "the bird sang " * 40, "the old dog sang " * 40
    options = [TextRequest(p, o) for p in (long, longer, "the bird") for o in (" today", " sang")]
    with caplog.at_level(logging.WARNING):
        adapter.score(options)
        with adapter.ablated(Ablation(mask_of(adapter))):
            adapter.score(options)
        adapter.score([TextRequest("the old", " dog")])

    assert [r.getMessage() for r in caplog.records] == [
        "2 of 3 prompts do not fit into the model's context of 64 tokens and lost their beginning"
    ]


def test_completion_longer_than_the_context_is_named(gpt2: HFAdapter) -> None:
    """The error for a text that does not fit has its beginning."""
    with pytest.raises(
        AdapterError, match=r"does not fit into the model's context of 64: 'the bir"
    ):
        gpt2.score([TextRequest("", "the bird sang " * 40)])


# generating


@pytest.mark.parametrize("family", ["gpt2", "llama", "falcon"])
def test_greedy_generation_is_transformers_own(family: str) -> None:
    """The same text that `model.generate` writes, without the prompt."""
    adapter = HFAdapter(model_of(family), tokenizer_of(bos=True), family)
    ids = torch.tensor([adapter.tokenizer("the old woman")["input_ids"]])
    with torch.no_grad():
        written = adapter.model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=12,
            pad_token_id=0,
        )
    expected = adapter.tokenizer.decode(written[0], skip_special_tokens=True)

    generated = adapter.generate("the old woman", Sampling(max_tokens=12))
    assert f"the old woman{generated}" == expected


def test_sampling_is_seeded_and_leaves_the_generator_alone(gpt2: HFAdapter) -> None:
    """A seed gives the same text again; the caller's random numbers go on undisturbed."""
    state = torch.get_rng_state()
    drawn = [gpt2.generate("the", Sampling(12, temperature=1.0, seed=s)) for s in (1, 1, 2)]

    assert drawn[0] == drawn[1] != drawn[2]
    assert torch.equal(torch.get_rng_state(), state)


def test_ablation_reaches_every_decoding_step(gpt2: HFAdapter, rng: np.random.Generator) -> None:
    """With all units of the last block held every step sees the same: one token repeated."""
    layout = Layout(gpt2.sites.choose(["block"]).sites[-1:])
    held = Ablation(UnitMask(layout, np.ones(16, dtype=bool)), offset=rng.normal(size=16))
    ids = torch.tensor([gpt2.tokenizer("the old")["input_ids"]])
    with gpt2.ablated(held), torch.no_grad():
        token = int(gpt2.model(ids).logits[0, -1].argmax())
        written = gpt2.generate("the old", Sampling(max_tokens=6))

    assert token not in gpt2.tokenizer.all_special_ids
    assert written == gpt2.tokenizer.decode([token] * 6)


def test_generation_is_silent(gpt2: HFAdapter, capfd: pytest.CaptureFixture[str]) -> None:
    """No advice about pad tokens reaches the terminal."""
    gpt2.generate("the old woman", Sampling(max_tokens=3))
    out, err = capfd.readouterr()

    assert (out, err) == ("", "")


def test_prompts_that_cannot_be_continued(gpt2: HFAdapter) -> None:
    """Nothing to start from, or no room left: one line each."""
    with pytest.raises(AdapterError, match="the prompt is empty and this tokenizer has no beg"):
        gpt2.generate("", Sampling())
    with pytest.raises(AdapterError, match="tokens but the model's context is 64; shorten"):
        gpt2.generate("the bird sang " * 40, Sampling())


# identity and loading


def test_identity_is_json_with_the_special_tokens(adapter_of: Make) -> None:
    """Special tokens are described; the identity is unchanged by JSON."""
    plain, both = adapter_of("llama"), adapter_of("llama", bos=True, eos=True)

    assert json.loads(json.dumps(both.identity)) == both.identity
    assert plain.identity["bos"] == "no beginning-of-text token"
    assert both.identity["bos"] == (
        "the tokenizer puts <s> (id 0) before and </s> (id 1) after every text"
    )
    assert plain.identity["weights"] == both.identity["weights"]
    assert plain.identity["tokenizer_hash"] != both.identity["tokenizer_hash"]


def test_identity_follows_the_content(adapter_of: Make) -> None:
    """One changed weight is another model; reading and scoring change nothing."""
    adapter, same = adapter_of("gpt2"), adapter_of("gpt2", batch_size=2)
    values_of(adapter, STIMULI, adapter.sites, max_tokens=5)
    changed = adapter_of("gpt2")
    changed.model.transformer.h[0].mlp.c_proj.bias.data[0] += 1

    assert adapter.identity == same.identity
    assert changed.identity["weights"] != same.identity["weights"]


def test_untrained_is_drawn_from_the_seed(adapter_of: Make) -> None:
    """A seed gives the same random weights again, for every checkpoint."""
    state = torch.get_rng_state()
    a, b, c = (adapter_of("gpt2", untrained=True, seed=s) for s in (1, 1, 2))

    assert a.identity == b.identity
    assert len({m.identity["weights"] for m in (a, c, adapter_of("gpt2"))}) == 3
    assert a.identity["untrained"] is True
    assert torch.equal(torch.get_rng_state(), state)


def test_loading_is_silent(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    """No progress bar, no report, no warning."""
    save(tmp_path)
    capfd.readouterr()
    load(str(tmp_path), ModelOptions())

    assert capfd.readouterr() == ("", "")
    assert not recwarn.list


def test_absent_device_is_an_error(adapter_of: Make) -> None:
    """One line that lists the devices there are."""
    with pytest.raises(AdapterError, match=r"device 'cuda:77' is not available; available: "):
        adapter_of("gpt2", device="cuda:77")
    with pytest.raises(AdapterError, match=r"device 'tpu9' is not available; available: "):
        adapter_of("gpt2", device="tpu9")


def save(folder: Path, family: str = "gpt2", *, tokenizer: bool = True) -> Path:
    model_of(family).save_pretrained(folder)
    if tokenizer:
        tokenizer_of().save_pretrained(folder)
    return folder


def replaced(folder: Path, old: str, new: str) -> None:
    config = folder / "config.json"
    config.write_text(config.read_text().replace(old, new))


def truncated(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:3000])


def another_kind(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "wav2vec2"}')


DEFECTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no-config": (
        lambda f: (f / "config.json").unlink(),
        "contains no model: it has no config.json",
    ),
    "bad-json": (lambda f: (f / "config.json").write_text("{"), "config.json is not valid JSON"),
    "kind-unknown": (lambda f: replaced(f, '"gpt2"', '"foo"'), "does not know its architecture"),
    "another-kind": (another_kind, "wav2vec2 takes no text and no image alone"),
    "no-weights": (lambda f: (f / "model.safetensors").unlink(), "it has no weights"),
    "cut-weights": (truncated, "its weights file is broken"),
    "other-shape": (
        lambda f: replaced(f, '"n_embd": 16', '"n_embd": 32'),
        "do not have the shapes",
    ),
    "too-few": (
        lambda f: replaced(f, '"n_layer": 2', '"n_layer": 3'),
        "its checkpoint lacks 12 we",
    ),
    "no-tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "has no tokenizer"),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_broken_folder_is_a_one_line_error(
    tmp_path: Path, defect: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Every defect gives what, why and what to do; nothing is printed."""
    break_it, expected = DEFECTS[defect]
    break_it(save(tmp_path))
    capfd.readouterr()
    with pytest.raises(AdapterError) as error:
        load(str(tmp_path), ModelOptions())

    assert expected in str(error.value)
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["/no/such/folder", "./here", "a/b/c"])
def test_missing_folder_is_an_error(name: str) -> None:
    """What can only be a path is not looked up on the hub."""
    with pytest.raises(AdapterError, match=r"there is no such folder; give a checkpoint folder as"):
        load(name, ModelOptions())


def test_unreachable_hub_is_an_error_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Hub unreachable and nothing cached: one line that says what to do."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(AdapterError) as error:
        load("some-org/no-such-model", ModelOptions())

    assert str(error.value) == (
        "model 'some-org/no-such-model' cannot be loaded: it is not in the local cache and the "
        "hub cannot be reached; give a checkpoint folder as hf:/path/to/folder"
    )


def test_path_with_home_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`~` is the home folder."""
    save(tmp_path / "model")
    monkeypatch.setenv("HOME", str(tmp_path))

    assert len(load("~/model", ModelOptions()).sites.choose(["block"]).sites) == 2
    shutil.rmtree(tmp_path / "model")
