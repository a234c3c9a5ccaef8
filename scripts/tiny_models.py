"""Tiny random models of every type that transformers maps to one of its auto classes.

    python scripts/tiny_models.py [TYPE ...] [--sizes even]

prints which types can be built, and why the others cannot. Nothing is downloaded: every model is
made from the config class of its type, with two to four layers and a vocabulary of 330 tokens. A
config is shrunk by the names of its numbers (`tiny_sizes.py`), to widths that are all unlike each
other or, with `--sizes even`, that coincide.
"""

import argparse
import sys
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from tiny_sizes import LAYERS, SIZES, VOCABULARY, given_numbers, of_type, small_numbers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedTokenizerFast
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.utils import logging


def types() -> tuple[str, ...]:
    """Return the model types that `AutoModelForCausalLM` takes."""
    return tuple(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def tiny_config(kind: str, sizes: str = "unlike") -> PretrainedConfig:
    """Return a small config of a model type.

    Parameters
    ----------
    kind
        As in `CONFIG_MAPPING`.
    sizes
        A key of `SIZES`.
    """
    made, own = CONFIG_MAPPING[kind], of_type(kind, sizes)
    default = made(**own.get("default", {}))
    more = {name: value for name, value in own.items() if name != "default"}
    return made(**_merged(_shrunk(default, sizes), more))


def tiny_model(
    kind: str, auto: Any = AutoModelForCausalLM, *, seed: int = 0, sizes: str = "unlike"
) -> Any:
    """Return a small random model of a type, in evaluation mode.

    Its weights are larger than usual, and nowhere all 0 or 1, so that mistakes show.

    Parameters
    ----------
    kind
        As in `CONFIG_MAPPING`.
    auto
        The auto class that makes it.
    seed
        Of the weights.
    sizes
        A key of `SIZES`.
    """
    return random_model(tiny_config(kind, sizes), auto, seed=seed)


def random_model(config: PretrainedConfig, auto: Any, *, seed: int = 0) -> Any:
    """Return the model of a config with random weights, as `tiny_model` does.

    Parameters
    ----------
    config
        Of any model type.
    auto, seed
        As of `tiny_model`.
    """
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        model = auto.from_config(config, dtype=torch.float32)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.is_floating_point():
                    parameter += 0.1 * torch.randn(parameter.shape)
            _fill_routes(model)
    return model.eval()


def _fill_routes(model: Any) -> None:
    """Give every token experts that differ, where a table by token decides: it begins with 0."""
    for name, table in model.named_buffers():
        if name.endswith("tid2eid"):
            tokens, chosen = (torch.arange(n) for n in table.shape)
            table.copy_((tokens[:, None] + chosen) % model.config.n_routed_experts)


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Return a byte-level tokenizer of 330 tokens or fewer that can encode any text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<s>", "</s>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["the old woman near the window reads a long letter"], trainer)
    names = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def buildable(kinds: tuple[str, ...], sizes: str) -> Iterator[tuple[str, str]]:
    """Yield every type, and why it cannot be built ('' where it can)."""
    for kind in kinds:
        try:
            tiny_model(kind, sizes=sizes)
        except Exception as error:  # whatever a model class raises
            yield kind, f"{type(error).__name__}: {' '.join(str(error).split())[:150]}"
        else:
            yield kind, ""


def _shrunk(config: PretrainedConfig, sizes: str) -> dict[str, Any]:
    """Return the changes that make a config small, of its sub-configs too."""
    changes: dict[str, Any] = {}
    for name, value in vars(config).items():
        if isinstance(value, PretrainedConfig):
            changes[name] = {"model_type": value.model_type, **_shrunk(value, sizes)}
        else:
            changes |= _shrunk_number(config, name, value, sizes)
    return changes


def _shrunk_number(config: PretrainedConfig, name: str, value: Any, sizes: str) -> dict[str, Any]:
    """Return what becomes of one entry of a config, if anything."""
    small, given = small_numbers(sizes), given_numbers(sizes)
    if hasattr(config, "qk_rope_head_dim"):  # then both follow from the heads' parts
        if name == "head_dim":
            return {}
        if name == "num_key_value_heads":
            return {name: small["num_attention_heads"]}
    if name == "is_decoder" and not config.is_encoder_decoder:
        return {name: True}
    if name in small and isinstance(value, int) and not isinstance(value, bool):
        exactly = small[name] is None or "layers" in name
        return {name: small[name] if exactly else min(value, small[name]) or value}
    if value is None and name in given:
        return {name: given[name]}
    if name.endswith(("_token_id", "_token_index")):
        return _token(name, value)
    patterns = ("layer_types", "mlp_layer_types", "indexer_types", "layers_block_type")
    return _pattern(name, value) if name in patterns else {}


def _token(name: str, value: Any) -> dict[str, Any]:
    """Return a special token that the small vocabulary has."""
    if not isinstance(value, int) or value < VOCABULARY:
        return {}
    return {name: {"eos_token_id": 1, "bos_token_id": 0, "pad_token_id": 2}.get(name, 3)}


def _pattern(name: str, value: Any) -> dict[str, Any]:
    """Return the kinds of layer of a hybrid model, each at least once."""
    if not isinstance(value, list | tuple) or not value:
        return {}
    kinds = list(dict.fromkeys(value))
    return {name: (kinds * LAYERS)[:LAYERS]}


def _merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Return two nested mappings as one; the second wins."""
    merged = dict(first)
    for name, value in second.items():
        inner = merged.get(name)
        both = isinstance(value, Mapping) and isinstance(inner, Mapping)
        merged[name] = _merged(inner, value) if both else value
    return merged


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("types", nargs="*", help="only these")
    parser.add_argument("--sizes", choices=SIZES, default="unlike", help="how wide they are")
    args = parser.parse_args()
    kinds = tuple(args.types) or types()
    logging.set_verbosity_error()
    built = 0
    for kind, reason in buildable(kinds, args.sizes):
        built += not reason
        if reason:
            print(f"{kind:28} {reason}", flush=True)
    print(f"{built} of {len(kinds)} types can be built")
    sys.exit(built < len(kinds))


if __name__ == "__main__":
    main()
