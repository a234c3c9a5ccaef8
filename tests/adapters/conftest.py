"""Tiny random language models of many families, their tokenizers, and images for other networks."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from deeploc.adapters._text.adapter import HFAdapter
from deeploc.adapters.hf import load
from deeploc.core.adapter import Adapter, ModelOptions
from deeploc.core.readout import Readout
from deeploc.core.units import Layout
from deeploc.stimuli import Stimulus

transformers_logging.disable_progress_bar()
transformers_logging.set_verbosity_error()

SENTENCES = [
    "the old woman near the window reads a long letter to her sister today",
    "a small dog that the children chased was hiding behind the red barn door",
    "my neighbours have painted every single door of their house in bright green",
    "the bird sang",
    "some farmers walked home",
    "three of the boys who like apples were sleeping under a tree",
]
LISTS = [
    "vek blorp shint dax quel mab wug trone fep zorp tam lirt blick",
    "drell spow frim",
    "gorp hend jask klum norv pim rilk sart tull vonk",
    "brape clift dorn eck fanter gleb hoom isk jorl kest lomb murt nif",
    "ploo",
    "wend zilt crum bave nool",
]

MIXED = [SENTENCES[3], LISTS[0], LISTS[4], SENTENCES[5]]
"""Three, thirteen, one and ten words: enough to ask an adapter for every promise."""

_SMALL = {"num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 2}
_GATED = {**_SMALL, "num_key_value_heads": 1, "intermediate_size": 24, "head_dim": 8}
_MOE = {**_GATED, "num_experts_per_tok": 2, "moe_intermediate_size": 8}
FAMILIES: dict[str, dict[str, Any]] = {
    "gpt2": {"n_layer": 2, "n_embd": 16, "n_head": 2, "n_positions": 64},
    "gpt_neo": {
        "num_layers": 2,
        "hidden_size": 16,
        "num_heads": 2,
        "attention_types": [[["global", "local"], 1]],
        "max_position_embeddings": 64,
        "window_size": 8,
    },
    "gptj": {"n_layer": 2, "n_embd": 16, "n_head": 2, "rotary_dim": 4, "n_positions": 64},
    "gpt_neox": {**_SMALL, "intermediate_size": 24, "max_position_embeddings": 64},
    "opt": {
        **_SMALL,
        "ffn_dim": 24,
        "word_embed_proj_dim": 16,
        "max_position_embeddings": 64,
    },
    "bloom": {"n_layer": 2, "hidden_size": 16, "n_head": 2},
    "mpt": {"n_layers": 2, "d_model": 16, "n_heads": 2, "max_seq_len": 64, "expansion_ratio": 2},
    "falcon": {**_SMALL, "multi_query": True, "parallel_attn": True, "alibi": False},
    "phi": {**_SMALL, "intermediate_size": 24, "max_position_embeddings": 64},
    "phi3": {**_SMALL, "num_key_value_heads": 1, "intermediate_size": 24},
    "llama": {**_GATED, "max_position_embeddings": 64},
    "mistral": {**_GATED, "sliding_window": 8},
    "gemma": _GATED,
    "gemma2": _GATED,
    "gemma3_text": {**_GATED, "sliding_window": 8},
    "qwen2": {**_SMALL, "num_key_value_heads": 1, "intermediate_size": 24},
    "qwen3": _GATED,
    "olmo": {**_SMALL, "num_key_value_heads": 1, "intermediate_size": 24},
    "olmo2": {**_SMALL, "num_key_value_heads": 1, "intermediate_size": 24},
    "cohere": {**_SMALL, "num_key_value_heads": 1, "intermediate_size": 24},
    "stablelm": {**_SMALL, "num_key_value_heads": 1, "intermediate_size": 24},
    "granite": {**_SMALL, "num_key_value_heads": 1, "intermediate_size": 24},
    "starcoder2": {**_SMALL, "num_key_value_heads": 1, "intermediate_size": 24},
    "mixtral": {**_GATED, "num_local_experts": 4},
    "qwen2_moe": {
        **_MOE,
        "num_experts": 4,
        "shared_expert_intermediate_size": 12,
        "decoder_sparse_step": 2,
    },
}
WITHOUT_DENSE_MLP = {"mixtral"}


def texts(contents: Sequence[str]) -> list[Stimulus]:
    """Return stimuli with these contents."""
    return [Stimulus(f"texts:{i}", content) for i, content in enumerate(contents)]


def values_of(
    adapter: Adapter, stimuli: Sequence[Stimulus], layout: Layout, **readout: Any
) -> np.ndarray:
    """Return the activations ``(stimulus, unit)`` in the order of the stimuli."""
    values = np.full((len(stimuli), layout.n_units), np.nan)
    for batch in adapter.activations(stimuli, layout, Readout(**readout)):
        values[batch.indices] = batch.values
    return values


def hooks_of(model: torch.nn.Module) -> list[tuple[int, int]]:
    """Return how many hooks of either side every module has."""
    return [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()]


def tokenizer_of(*, bos: bool = False, eos: bool = False, pad: bool = False) -> Any:
    """Return a byte-level BPE that can encode anything; ``bos``, ``eos``: added to every text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        special_tokens=["<s>", "</s>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    if bos or eos:
        template = f"{'<s> ' if bos else ''}$A{' </s>' if eos else ''}"
        special = [("<s>", 0), ("</s>", 1)]
        tokenizer.post_processor = processors.TemplateProcessing(template, special_tokens=special)
    names = {"bos_token": "<s>", "eos_token": "</s>"} | ({"pad_token": "<pad>"} if pad else {})
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def model_of(family: str, *, seed: int = 0, scale: float = 8.0, **changes: Any) -> Any:
    """Return a tiny random causal LM; larger weights than usual, so that errors show."""
    size = {"vocab_size": 330, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": None}
    config = AutoConfig.for_model(family, **{**size, **FAMILIES[family], **changes})
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if parameter.ndim >= 2 and "embed" not in name and "wte" not in name:
                    parameter.mul_(scale)
    return model.eval()


@pytest.fixture(scope="session")
def adapter_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., HFAdapter]:
    """Return a function that loads an adapter of a family from a folder saved for it."""
    folders: dict[tuple[Any, ...], Path] = {}

    def load_family(
        family: str, *, bos: bool = False, eos: bool = False, **options: Any
    ) -> HFAdapter:
        key = (family, bos, eos)
        if key not in folders:
            folders[key] = tmp_path_factory.mktemp(family)
            model_of(family).save_pretrained(folders[key])
            tokenizer_of(bos=bos, eos=eos).save_pretrained(folders[key])
        return load(str(folders[key]), ModelOptions(**options))

    return load_family


# images

SHAPES = {"wide.jpg": (97, 61), "tall.png": (40, 130), "square.jpg": (80, 80), "small.png": (9, 5)}
"""File name -> width and height."""


@pytest.fixture(scope="session")
def image_files(tmp_path_factory: pytest.TempPathFactory) -> list[Stimulus]:
    """Return image files of different shapes: noise, each at another scale."""
    folder = tmp_path_factory.mktemp("image_files")
    rng = np.random.default_rng(0)
    for number, (name, size) in enumerate(SHAPES.items()):
        noise = rng.integers(0, 256, (3 * 2**number, 3 * 2**number, 3), dtype=np.uint8)
        Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).save(folder / name)
    return [Stimulus(name, folder / name) for name in SHAPES]


class Shrunk:
    """A transform as users write them: an image squeezed to a square, colours from -1 to 1."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, image: Image.Image) -> torch.Tensor:
        pixels = np.asarray(image.resize((self.size, self.size)), np.float32)
        return torch.from_numpy(pixels / 127.5 - 1).permute(2, 0, 1)

    def __repr__(self) -> str:
        return f"Shrunk({self.size})"


def inputs_of(stimuli: Sequence[Stimulus], transform: Callable[..., Any]) -> torch.Tensor:
    """Return the images as a network takes them, prepared by ``transform`` one after the other."""
    opened = [Image.open(stimulus.content).convert("RGB") for stimulus in stimuli]
    return torch.stack([transform(image) for image in opened])


def shaken(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Add noise to every weight: what begins as 0 or 1 would hide mistakes."""
    noise = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=noise)
    return module.eval()
