"""Masked LMs, encoders and encoder-decoders: which class, what is read, what is scored."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf

from deeploc import wrap
from deeploc.adapters._text.adapter import HFAdapter
from deeploc.adapters._text.masked import MaskedAdapter
from deeploc.adapters._text.reading import TextAdapter
from deeploc.adapters._text.seq2seq import EncoderDecoderAdapter
from deeploc.adapters.hf import load
from deeploc.core.ablation import Ablation
from deeploc.core.adapter import Generates, ModelOptions, Sampling, ScoresText, TextRequest
from deeploc.core.task import check_needs
from deeploc.core.units import UnitMask
from deeploc.errors import AdapterError, TaskError
from deeploc.tasks.perplexity import Perplexity
from deeploc.testing import check_adapter

from .conftest import LISTS, MIXED, SENTENCES, shaken, texts, tokenizer_of, values_of

_SIZE = {"vocab_size": 340, "pad_token_id": 2, "bos_token_id": 0, "eos_token_id": 1}
_BERT = {
    **_SIZE,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 64,
}
_T5 = {**_SIZE, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2}
_BART = {
    **_SIZE,
    "d_model": 16,
    "max_position_embeddings": 64,
    **dict.fromkeys(("encoder_layers", "decoder_layers"), 2),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 2),
    **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim"), 24),
}
MODELS: dict[str, Callable[[], Any]] = {
    "bert": lambda: hf.BertForMaskedLM(hf.BertConfig(**_BERT)),
    "roberta": lambda: hf.RobertaForMaskedLM(hf.RobertaConfig(**_BERT)),
    "distilbert": lambda: hf.DistilBertForMaskedLM(
        hf.DistilBertConfig(**_SIZE, dim=16, n_layers=2, n_heads=2, hidden_dim=24)
    ),
    "mobilebert": lambda: hf.MobileBertForMaskedLM(
        hf.MobileBertConfig(
            **_BERT, embedding_size=8, intra_bottleneck_size=16, true_hidden_size=16
        )
    ),
    "fnet": lambda: hf.FNetForMaskedLM(
        hf.FNetConfig(**{k: v for k, v in _BERT.items() if k != "num_attention_heads"})
    ),
    "encoder": lambda: hf.BertModel(hf.BertConfig(**_BERT)),
    "t5": lambda: hf.T5ForConditionalGeneration(hf.T5Config(**_T5, decoder_start_token_id=2)),
    "bart": lambda: hf.BartForConditionalGeneration(
        hf.BartConfig(**_BART, decoder_start_token_id=1)
    ),
    "mbart": lambda: hf.MBartForConditionalGeneration(hf.MBartConfig(**_BART)),
}
MASKED = ["bert", "roberta", "distilbert", "mobilebert"]
DEPEND_ON_PADDING = {"fnet", "mobilebert"}
"""They mix tokens without a mask: by a Fourier transform, and each with its two neighbours."""
HALVES = ["t5", "bart", "mbart"]
STIMULI = texts([*SENTENCES, *LISTS])
REQUESTS = [
    TextRequest("the old woman", " reads a letter"),
    TextRequest("", "the bird sang"),
    TextRequest("some farmers", " walked home to the barn"),
    TextRequest("some farmers", " walked"),
]


@cache
def masking_tokenizer() -> Any:
    tokenizer = tokenizer_of(bos=True, eos=True, pad=True)
    tokenizer.add_special_tokens({"mask_token": "<mask>"})
    return tokenizer


def made(name: str) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return shaken(MODELS[name]())


@cache
def shared(name: str) -> Any:
    """Return an adapter that no test changes."""
    return adapter_for(name)


def adapter_for(name: str, **options: Any) -> Any:
    return wrap(made(name), tokenizer=masking_tokenizer(), name=name, **options)


def saved(model: Any, folder: Path) -> Any:
    model.save_pretrained(folder)
    masking_tokenizer().save_pretrained(folder)
    return load(str(folder), ModelOptions(device="cpu"))


# which class


CLASSES: dict[str, tuple[Callable[[], Any], type]] = {
    "masked": (MODELS["bert"], MaskedAdapter),
    "decoder head that sees ahead": (
        lambda: hf.BertLMHeadModel(hf.BertConfig(**_BERT)),
        MaskedAdapter,
    ),
    "decoder": (
        lambda: hf.BertLMHeadModel(hf.BertConfig(**_BERT, is_decoder=True)),
        HFAdapter,
    ),
    "no head": (MODELS["encoder"], TextAdapter),
    "another head": (
        lambda: hf.RobertaForSequenceClassification(hf.RobertaConfig(**_BERT)),
        TextAdapter,
    ),
    "causal": (
        lambda: hf.GPT2LMHeadModel(hf.GPT2Config(**_SIZE, n_embd=16, n_layer=2, n_head=2)),
        HFAdapter,
    ),
    "causal, saved without its tied head": (
        lambda: hf.GPT2Model(hf.GPT2Config(**_SIZE, n_embd=16, n_layer=2, n_head=2)),
        HFAdapter,
    ),
    "permutation language model": (
        lambda: hf.XLNetLMHeadModel(
            hf.XLNetConfig(**_SIZE, d_model=16, n_layer=2, n_head=2, d_inner=24)
        ),
        TextAdapter,
    ),
    "both halves": (MODELS["t5"], EncoderDecoderAdapter),
    "both halves without a head": (lambda: hf.BartModel(hf.BartConfig(**_BART)), TextAdapter),
    "encoder half": (lambda: hf.T5EncoderModel(hf.T5Config(**_T5)), TextAdapter),
    "decoder half": (
        lambda: hf.BartForCausalLM(hf.BartConfig(**_BART, is_encoder_decoder=False)),
        HFAdapter,
    ),
}


@pytest.mark.parametrize("case", CLASSES)
def test_the_folder_says_which_class(case: str, tmp_path: Path) -> None:
    """The class that wrote a folder decides; what sees ahead is never scored left to right."""
    make, expected = CLASSES[case]
    adapter = saved(shaken(make()), tmp_path)

    assert type(adapter) is expected
    assert adapter.sites.choose(["block"]).sites
    assert isinstance(adapter, Generates) == (expected in (HFAdapter, EncoderDecoderAdapter))


def test_a_wrapped_encoder_is_not_scored_left_to_right() -> None:
    """`wrap` chooses as `hf:` does: a BERT is a masked LM, and without a mask token only read."""
    masked, read_only = made("bert"), tokenizer_of(bos=True, eos=True)

    assert type(wrap(masked, tokenizer=masking_tokenizer())) is MaskedAdapter
    assert type(wrap(masked, tokenizer=read_only)) is TextAdapter


def test_a_model_of_more_than_text_is_one_line(tmp_path: Path) -> None:
    """A forward pass that needs more than token ids is an error of one line that says so."""
    size = {"languages": ["en_XX", "de_DE"], "default_language": None}
    with pytest.raises(
        AdapterError, match=r"XmodModel fails on 5 texts of 7 tokens: ValueError: Inp"
    ):
        saved(hf.XmodForMaskedLM(hf.XmodConfig(**_BERT, **size)), tmp_path)


def test_an_encoder_without_a_head_has_no_scores() -> None:
    """A task that needs scores names the ability that is missing."""
    adapter = shared("encoder")

    assert not isinstance(adapter, ScoresText)
    with pytest.raises(TaskError, match="task 'perplexity' needs a model with the ability ScoresT"):
        check_needs(adapter, [Perplexity({"s": SENTENCES})])


@pytest.mark.parametrize("name", ["bert", "encoder", "t5"])
def test_adapters_keep_their_promises(name: str) -> None:
    """The conformance kit passes: sites, batches, ablation, read-back, nothing left behind."""
    check_adapter(shared(name), texts(MIXED))


# reading


@pytest.mark.parametrize("name", [*MASKED, "fnet", *HALVES])
def test_padding_changes_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text reads in a padded batch as it does alone; what cannot be padded never is."""
    together, alone = adapter_for(name), adapter_for(name, batch_size=1)
    assert together._can_pad == (name not in DEPEND_ON_PADDING)
    monkeypatch.setattr("deeploc.adapters._text.reading.PADDING", 1.0)
    layout = together.sites
    one, other = (values_of(a, STIMULI, layout, pool="mean") for a in (together, alone))

    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["t5", "bart"])
def test_both_halves_are_read(name: str) -> None:
    """Blocks are transformers' hidden states of a model that is shown text and shifted text."""
    adapter = shared(name)
    ids = torch.tensor([adapter.tokenizer(SENTENCES[0])["input_ids"]])
    shifted = torch.cat([torch.tensor([[adapter._lm.start]]), ids[:, :-1]], dim=1)
    with torch.no_grad():
        states = adapter.model(ids, decoder_input_ids=shifted, output_hidden_states=True)
    blocks = adapter.sites.choose(["block"])
    values = values_of(adapter, texts(SENTENCES[:1]), blocks, tokens="all", pool="mean")[0]

    assert [s.path.split(".")[-3] for s in blocks.sites] == ["encoder"] * 2 + ["decoder"] * 2
    for number, state in (
        (0, states.encoder_hidden_states[1]),
        (2, states.decoder_hidden_states[1]),
    ):
        own = values[blocks.slices[blocks.sites[number].name]]
        np.testing.assert_allclose(own, state[0].mean(dim=0), rtol=1e-4, atol=1e-5)


# scoring


def by_hand(adapter: Any, prompt: str, completion: str) -> tuple[float, int]:
    """Mask the tokens of a completion one by one, each in a pass of its own."""
    tokenizer, model = adapter.tokenizer, adapter.model
    whole = tokenizer(prompt + completion)["input_ids"]
    shared = len(tokenizer(prompt)["input_ids"]) - 1  # without its end token
    total, positions = 0.0, range(shared, len(whole) - 1)
    for position in positions:
        ids = torch.tensor([whole])
        ids[0, position] = tokenizer.mask_token_id
        with torch.no_grad():
            logits = model(ids).logits[0, position]
        total += float(logits.double().log_softmax(dim=-1)[whole[position]])
    return total, len(positions)


@pytest.mark.parametrize("name", [*MASKED, "fnet"])
def test_scores_are_pseudo_log_likelihoods(name: str) -> None:
    """Scores equal a loop over transformers' own logits, token by token, one row at a time."""
    adapter = shared(name)
    for request, score in zip(REQUESTS, adapter.score(REQUESTS), strict=True):
        total, n = by_hand(adapter, request.prompt, request.completion)

        assert score.n_tokens == n
        assert score.logprob == pytest.approx(total, rel=1e-5)
    assert adapter.identity["scoring"].startswith("pseudo-log-likelihood")


def test_the_token_of_a_sure_model_is_greedy() -> None:
    """Where the bias of the head decides, exactly the completions of that token are greedy."""
    adapter = adapter_for("bert")
    (token,) = adapter.tokenizer(" the", add_special_tokens=False)["input_ids"]
    adapter.model.get_output_embeddings().bias.data[token] += 1000
    greedy = [s.greedy for s in adapter.score([TextRequest("in", t) for t in (" the", " the a")])]

    assert greedy == [True, False]


def test_options_of_one_token_share_a_row() -> None:
    """Options that differ in the masked token are predicted from one and the same input."""
    adapter = adapter_for("bert")
    adapter.score([TextRequest("", "a")])  # first passes show what the model does with padding
    rows: list[int] = []
    adapter.model.register_forward_pre_hook(
        lambda _, __, kwargs: rows.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    scores = adapter.score([TextRequest("the bird (", option) for option in "1234"])

    assert rows == [1]
    assert len({score.logprob for score in scores}) == 4


@pytest.mark.parametrize("name", ["bert", "bart"])
def test_long_prompts_lose_their_beginning(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """A prompt beyond the context is cut and told of; a completion beyond it is an error."""
    adapter = shared(name)
    long = "a " * 100
    (score,) = adapter.score([TextRequest(long, "b")])

    assert score.n_tokens == 1
    assert "1 of 1 prompts do not fit" in caplog.text
    with pytest.raises(AdapterError, match="does not fit into the model's context of"):
        adapter.score([TextRequest("", long)])


def test_ablation_changes_pseudo_log_likelihoods() -> None:
    """Silenced units change the scores of a masked LM, and leave nothing behind."""
    adapter = shared("bert")
    layout = adapter.sites.choose(["block"])
    before = adapter.score(REQUESTS)
    with adapter.ablated(Ablation(UnitMask(layout, np.arange(layout.n_units) % 2 == 0))):
        inside = adapter.score(REQUESTS)

    assert all(a.logprob != b.logprob for a, b in zip(before, inside, strict=True))
    assert adapter.score(REQUESTS) == before


@pytest.mark.parametrize("name", HALVES)
def test_completions_are_scored_by_the_decoder(name: str) -> None:
    """Scores equal transformers' logits for labels of its own, special tokens left out."""
    adapter = shared(name)
    scores = adapter.score([*REQUESTS, TextRequest("the bird", "")])
    for request, score in zip(REQUESTS, scores, strict=False):
        ids = torch.tensor([adapter.tokenizer(request.prompt)["input_ids"]])
        labels = torch.tensor([adapter.tokenizer(request.completion)["input_ids"]])
        with torch.no_grad():
            logits = adapter.model(input_ids=ids, labels=labels).logits[0].double()
        each = logits.log_softmax(dim=-1)[range(labels.shape[1]), labels[0]]

        assert score.n_tokens == labels.shape[1] - 2
        assert score.logprob == pytest.approx(float(each[1:-1].sum()), rel=1e-5)
    assert (scores[-1].logprob, scores[-1].n_tokens) == (0.0, 0)


@pytest.mark.parametrize("name", ["t5", "bart"])
def test_greedy_text_is_that_of_transformers(name: str) -> None:
    """The most probable token each time, as `generate` takes with a config of its own."""
    adapter = adapter_for(name)
    prompt = "the old woman reads"
    ids = torch.tensor([adapter.tokenizer(prompt)["input_ids"]])
    config = hf.GenerationConfig(
        max_new_tokens=8,
        do_sample=False,
        eos_token_id=1,
        pad_token_id=2,
        decoder_start_token_id=adapter._lm.start,
    )
    adapter.model.generation_config = config
    expected = adapter.model.generate(ids, generation_config=config)[0, 1:]

    assert adapter.generate(prompt, Sampling(max_tokens=8)) == adapter.tokenizer.decode(
        expected, skip_special_tokens=True
    )


@pytest.mark.parametrize("half", ["encoder", "decoder"])
def test_ablation_acts_in_both_halves(half: str) -> None:
    """Units of either half change scores and generated text."""
    adapter = shared("bart")
    blocks = adapter.sites.choose(["block"])
    chosen = [half in site.path for site in blocks.sites for _ in range(site.n_units)]
    offset = np.linspace(-3, 3, blocks.n_units)
    edit = Ablation(UnitMask(blocks, np.array(chosen)), offset=offset)
    prompt, sampling = "the bird", Sampling(max_tokens=12, temperature=1.5)
    before = adapter.score(REQUESTS), adapter.generate(prompt, sampling)
    with adapter.ablated(edit):
        inside = adapter.score(REQUESTS), adapter.generate(prompt, sampling)

    assert all(a.logprob != b.logprob for a, b in zip(before[0], inside[0], strict=True))
    assert before[1] != inside[1]
    assert (adapter.score(REQUESTS), adapter.generate(prompt, sampling)) == before


def test_sampling_follows_the_seed() -> None:
    """Equal seeds give equal text, and torch's own random numbers stay as they were."""
    adapter = shared("t5")
    state = torch.get_rng_state()
    said = [adapter.generate("a", Sampling(9, 1.5, seed)) for seed in (1, 1, 2)]

    assert said[0] == said[1] != said[2]
    assert torch.equal(torch.get_rng_state(), state)


def test_a_vision_language_model_is_read_as_its_text_model(tmp_path: Path) -> None:
    """Text alone: it is a causal LM, its vision tower has no sites."""
    text = hf.LlamaConfig(
        **_SIZE, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24
    )
    vision = hf.CLIPVisionConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        image_size=16,
        patch_size=8,
    )
    config = hf.LlavaConfig(text_config=text, vision_config=vision, image_token_id=3)
    adapter = saved(shaken(hf.LlavaForConditionalGeneration(config)), tmp_path)
    ids = torch.tensor([adapter.tokenizer("the bird sang")["input_ids"]])
    with torch.no_grad():
        logits = adapter.model(input_ids=ids).logits[0].double().log_softmax(dim=-1)
    (score,) = adapter.score([TextRequest("", "the bird sang")])

    assert type(adapter) is HFAdapter
    assert all("language_model" in site.path for site in adapter.sites.sites)
    expected = float(logits[range(ids.shape[1] - 2), ids[0, 1:-1]].sum())
    assert score.logprob == pytest.approx(expected, rel=1e-5)


def test_parts_of_a_block_in_one_list_are_no_experts() -> None:
    """T5 keeps attention and MLP of a block in a list; its MLPs have neurons."""
    sites = adapter_for("t5").sites
    assert len(sites.choose(["mlp-neurons"]).sites) == 4


def test_scores_of_tokens_are_no_block(tmp_path: Path) -> None:
    """Two BERTs as encoder and decoder: their layers are the blocks, the head is none."""
    config = hf.BertConfig(**_BERT)
    both = hf.EncoderDecoderConfig.from_encoder_decoder_configs(config, config)
    both.decoder_start_token_id, both.pad_token_id = 0, 2
    model = hf.EncoderDecoderModel(config=both)
    blocks = saved(model, tmp_path).sites.choose(["block"])

    assert [site.n_units for site in blocks.sites] == [16] * 4
