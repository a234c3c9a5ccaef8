"""Generated text is what the forward passes predict, whatever the checkpoint or a cache says."""

from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, GPT2LMHeadModel

from deeploc.adapters._text import decode
from deeploc.adapters._text.adapter import HFAdapter
from deeploc.core.ablation import Ablation, ForwardPass
from deeploc.core.adapter import Sampling
from deeploc.core.units import UnitMask

from .conftest import FAMILIES, model_of, tokenizer_of
from .test_edits import first_units

PROMPT = "the old woman near the window reads"
N = 16

_DECODER = {
    "d_model": 16,
    "decoder_layers": 2,
    "encoder_layers": 2,
    "decoder_attention_heads": 2,
    "encoder_attention_heads": 2,
    "decoder_ffn_dim": 24,
    "encoder_ffn_dim": 24,
    "max_position_embeddings": 64,
}
OTHERS: dict[str, dict[str, Any]] = {
    "roberta": {**FAMILIES["gpt_neox"], "is_decoder": True},
    "bart": _DECODER,
    "mamba": {"hidden_size": 16, "num_hidden_layers": 2, "state_size": 4},
    "rwkv": {"hidden_size": 16, "num_hidden_layers": 2, "attention_hidden_size": 16},
    "recurrent_gemma": {**FAMILIES["gemma"], "attention_window_size": 8, "lru_width": 16},
    "openai-gpt": {"n_layer": 2, "n_embd": 16, "n_head": 2, "n_positions": 64},
}
MODELS = ("gpt2", "llama", "mistral", "gemma3_text", *OTHERS)


def adapter_of(family: str) -> HFAdapter:
    if family not in OTHERS:
        return HFAdapter(model_of(family), tokenizer_of(bos=True), family)
    config = AutoConfig.for_model(family, vocab_size=330, **OTHERS[family])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
    model.generation_config.eos_token_id = 1
    return HFAdapter(model, tokenizer_of(bos=True), family)


@torch.no_grad()
def written_by_hand(adapter: HFAdapter, prompt: str, sampling: Sampling) -> str:
    """Return the text of a loop over whole forward passes; draws as by inverting the CDF."""
    ids = list(adapter.tokenizer(prompt)["input_ids"])
    draws = torch.rand(
        sampling.max_tokens,
        generator=torch.Generator().manual_seed(sampling.seed),
        dtype=torch.float64,
    )
    n_prompt = len(ids)
    for draw in draws.tolist():
        row = adapter.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].numpy()
        if sampling.temperature == 0:
            ids.append(int(row.argmax()))
        else:
            weights = np.exp((row - row.max()).astype(np.float64) / sampling.temperature)
            ids.append(int(np.flatnonzero(np.cumsum(weights / weights.sum()) > draw)[0]))
        if ids[-1] == 1:
            break
    before = adapter.tokenizer.decode(ids[:n_prompt], skip_special_tokens=True)
    return adapter.tokenizer.decode(ids, skip_special_tokens=True)[len(before) :]


@pytest.mark.parametrize("family", MODELS)
@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_text_is_that_of_whole_forward_passes(family: str, temperature: float) -> None:
    """Token by token, intact and ablated, greedy and sampled; also beyond a sliding window."""
    adapter = adapter_of(family)
    sampling = Sampling(N, temperature, seed=3)
    edit = Ablation(first_units(adapter.sites), gain=-2.0)
    intact = written_by_hand(adapter, PROMPT, sampling)
    with adapter.ablated(edit):
        ablated = written_by_hand(adapter, PROMPT, sampling)
        made = adapter.generate(PROMPT, sampling)

    assert made == ablated != intact == adapter.generate(PROMPT, sampling)


@pytest.mark.parametrize("family", ["gpt2", "llama", "mistral", "gemma3_text", "bart", "mamba"])
def test_models_with_a_cache_draft_with_it(family: str) -> None:
    """The text is drafted to its end with one token per pass, and confirmed by one whole pass."""
    adapter = adapter_of(family)
    adapter.model.generation_config.eos_token_id = [329]
    widths: list[int] = []
    hook = adapter.model.register_forward_pre_hook(
        lambda _m, _a, kwargs: widths.append(kwargs["input_ids"].shape[1]), with_kwargs=True
    )
    adapter.generate(PROMPT, Sampling(N))
    hook.remove()
    n_prompt = widths[0]

    assert widths == [n_prompt, *[1] * (N - 1), n_prompt + N - 1]


class Broken(GPT2LMHeadModel):
    """Does something wrong where it is given a cache."""

    how = "raises"

    def forward(self, input_ids: Any, cache: Any = None, use_cache: Any = None, **more: Any) -> Any:
        if cache is not None and self.how == "raises":
            raise IndexError("position 12 is out of range")
        known = None if self.how == "forgets" else cache
        return super().forward(input_ids, cache=known, use_cache=use_cache, **more)


@pytest.mark.parametrize("how", ["raises", "forgets"])
def test_a_wrong_cache_changes_no_text(how: str) -> None:
    """A model that fails with its cache, or forgets what was before, writes what it predicts."""
    adapter = adapter_of("gpt2")
    expected = adapter.generate(PROMPT, Sampling(N))
    adapter.model.__class__, adapter.model.how = Broken, how
    edit = Ablation(first_units(adapter.sites), gain=-2.0)
    with adapter.ablated(edit):
        ablated = written_by_hand(adapter, PROMPT, Sampling(N))
        made = adapter.generate(PROMPT, Sampling(N))

    assert adapter.generate(PROMPT, Sampling(N)) == expected
    assert made == ablated != expected


OWN = {
    "forced_eos_token_id": 1,
    "forced_bos_token_id": 7,
    "suppress_tokens": list(range(2, 300)),
    "begin_suppress_tokens": [5, 6],
    "repetition_penalty": 5.0,
    "no_repeat_ngram_size": 1,
    "num_beams": 3,
    "min_new_tokens": 12,
    "do_sample": True,
    "temperature": 3.0,
    "min_p": 0.4,
    "top_k": 3,
}


@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_the_checkpoints_own_settings_are_not_followed(temperature: float) -> None:
    """The text is the same with and without them; they are left as they were."""
    adapter = adapter_of("gpt2")
    sampling = Sampling(N, temperature, seed=1)
    plain = adapter.generate(PROMPT, sampling)
    for name, value in OWN.items():
        setattr(adapter.model.generation_config, name, value)
    before = deepcopy(adapter.model.generation_config.to_dict())

    assert adapter.generate(PROMPT, sampling) == plain
    assert adapter.model.generation_config.to_dict() == before


def test_the_checkpoints_own_settings_are_told() -> None:
    """Each that would change a text, none that would not: defaults, lengths, special tokens."""
    adapter = adapter_of("gpt2")
    own = adapter.model.generation_config
    own.max_length, own.bos_token_id, own.use_cache, own.top_p = 99, 0, False, 0.5
    own.repetition_penalty, own.num_beams, own.min_length, own.suppress_tokens = 1.0, 1, 0, []
    assert adapter.generation_settings(Sampling()) == {}
    for name, value in OWN.items():
        setattr(own, name, value)

    assert adapter.generation_settings(Sampling()) == {**OWN, "top_p": 0.5}
    sampled = adapter.generation_settings(Sampling(temperature=3.0))
    assert {*OWN, "top_p"} - {*sampled} == {"do_sample", "temperature"}


def test_text_ends_where_it_is_said_to() -> None:
    """At the first of several end tokens of the checkpoint, else at that of the tokenizer."""
    adapter = adapter_of("llama")
    adapter.model.generation_config.eos_token_id = adapter.tokenizer.eos_token = None
    ids = list(adapter.tokenizer(PROMPT)["input_ids"])
    endless = decode.new_tokens(adapter._lm, ids, decode.Choice(Sampling(N)), frozenset(), N)
    end = endless[5]
    adapter.model.generation_config.eos_token_id = [end, 328]
    ended = adapter.generate(PROMPT, Sampling(N))

    expected = endless[: endless.index(end) + 1]
    assert PROMPT + ended == adapter.tokenizer.decode([*ids, *expected], skip_special_tokens=True)
    assert len(endless) == N


class Overflowing:
    """An edit that makes activations infinite from a position on."""

    key = "overflowing"

    def __init__(self, mask: UnitMask, after: int) -> None:
        self.mask = mask
        self.after = after

    def edited(self, _: str, values: np.ndarray, forward_pass: ForwardPass) -> np.ndarray:
        positions = forward_pass.start + np.arange(values.shape[1])
        return np.where((positions >= self.after)[None, :, None], np.inf, values)


@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_text_ends_where_logits_are_not_finite(
    temperature: float, caplog: pytest.LogCaptureFixture
) -> None:
    """The text up to there, and a line that says so; not a traceback of sampling."""
    adapter = adapter_of("llama")
    n_prompt = len(adapter.tokenizer(PROMPT)["input_ids"])
    edit = Overflowing(first_units(adapter.sites.scalars()), n_prompt + 2)
    with adapter.ablated(edit):
        made = adapter.generate(PROMPT, Sampling(N, temperature))

    assert made == adapter.generate(PROMPT, Sampling(3, temperature))
    assert caplog.messages == ["the text ends after 3 tokens: the logits are not finite"]


def test_draws_follow_the_distribution() -> None:
    """4,000 draws are the softmax at that temperature within the 99.9 % interval of every share."""
    row = torch.tensor([0.0, 1.0, -torch.inf, 2.0, -1.0])
    choose = decode.Choice(Sampling(4_000, temperature=2.0, seed=0))
    counts = np.bincount([choose(row, step) for step in range(4_000)], minlength=5)
    shares = torch.softmax(row.double() / 2, dim=0).numpy()

    assert counts[2] == 0
    sd = np.sqrt(shares * (1 - shares) / 4_000)
    assert (np.abs(counts / 4_000 - shares) <= 3.29 * sd).all()
