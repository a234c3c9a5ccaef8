"""Tiny random models of every type that transformers maps to one of its auto classes.

    python scripts/tiny_models.py [TYPE ...]

prints which types can be built, and why the others cannot. Nothing is downloaded: every model is
made from the config class of its type, with two to four layers, a vocabulary of 330 tokens and
widths that are unlike each other, so that the axes of a tensor cannot be confused. A config is
shrunk by the names of its numbers, which most types share; the few that need more are listed.
"""

import argparse
import sys
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedTokenizerFast
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.utils import logging

VOCABULARY = 330
LAYERS = 4

_SMALL: dict[str, Any] = {
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "dim", "emb_dim", "embed_dim"), 64),
    **dict.fromkeys(("embedding_size", "word_embed_proj_dim", "embedding_dim"), 64),
    **dict.fromkeys(("hidden_size_global", "attention_hidden_size", "out_hidden_size"), 64),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers"), LAYERS),
    **dict.fromkeys(("encoder_layers", "decoder_layers"), LAYERS),
    **dict.fromkeys(("num_encoder_layers", "num_decoder_layers"), LAYERS),
    **dict.fromkeys(("depth", "num_blocks"), 2),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads"), 4),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(("num_encoder_attention_heads", "num_decoder_attention_heads"), 4),
    **dict.fromkeys(("attention_heads", "swa_num_attention_heads"), 4),
    **dict.fromkeys(("num_key_value_heads", "kv_n_heads", "swa_num_key_value_heads"), 2),
    "num_kv_heads": 2,
    **dict.fromkeys(("head_dim", "dim_head", "d_kv", "swa_head_dim", "d_head"), 16),
    **dict.fromkeys(("kv_channels", "attention_head_size"), 16),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "decoder_ffn_dim", "encoder_ffn_dim"), 88),
    **dict.fromkeys(("ffn_hidden_size", "d_ff", "dim_ff", "dff", "d_inner", "n_inner"), 88),
    **dict.fromkeys(("feed_forward_size", "intermediate_size_mlp", "mlp_dim"), 88),
    **dict.fromkeys(("dense_intermediate_size", "shared_intermediate_size"), 88),
    **dict.fromkeys(("moe_intermediate_size", "expert_ffn_hidden_size"), 20),
    **dict.fromkeys(("shared_expert_intermediate_size", "shared_experts_intermediate_size"), 36),
    "moe_shared_expert_intermediate_size": 36,
    **dict.fromkeys(("num_experts", "n_routed_experts", "num_local_experts"), 6),
    **dict.fromkeys(("moe_num_experts", "zero_expert_num"), 6),
    **dict.fromkeys(("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k"), 2),
    "moe_top_k": 2,
    **dict.fromkeys(("n_group", "topk_group", "num_expert_group"), 1),
    **dict.fromkeys(("n_shared_experts", "num_shared_experts", "moe_num_shared_experts"), 1),
    **dict.fromkeys(("first_k_dense_replace", "num_dense_layers", "moe_layer_start_index"), 1),
    **dict.fromkeys(("q_lora_rank", "o_lora_rank"), 28),
    "kv_lora_rank": 26,
    **dict.fromkeys(("qk_nope_head_dim", "v_head_dim"), 16),
    "qk_rope_head_dim": 8,
    "qk_head_dim": 24,
    **dict.fromkeys(("index_head_dim",), 16),
    **dict.fromkeys(("index_n_heads",), 4),
    "index_topk": 32,
    **dict.fromkeys(("sliding_window", "local_attention", "sliding_window_size"), 16),
    **dict.fromkeys(("attention_window_size", "attention_chunk_size", "window_size"), 16),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len"), 96),
    **dict.fromkeys(("max_target_positions", "max_source_positions", "context_length"), 96),
    **dict.fromkeys(("vocab_size", "vocab_size_per_layer_input", "decoder_vocab_size"), VOCABULARY),
    "unpadded_vocab_size": VOCABULARY,
    "encoder_hash_byte_group_vocab": VOCABULARY,
    "hidden_size_per_layer_input": 18,
    "laurel_rank": 10,
    "input_embedding_size": 34,
    "output_embedding_size": 44,
    **dict.fromkeys(("state_size", "mamba_d_state", "ssm_state_size"), 14),
    **dict.fromkeys(("mamba_n_heads", "mamba_num_heads"), 8),
    **dict.fromkeys(("mamba_d_head", "mamba_head_dim", "mamba_headdim"), 16),
    "mamba_d_ssm": 128,
    **dict.fromkeys(("n_groups", "mamba_n_groups", "mamba_ngroups", "o_groups"), 2),
    **dict.fromkeys(("chunk_size", "mamba_chunk_size"), 16),
    **dict.fromkeys(("time_step_rank", "mamba_dt_rank"), 6),
    **dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim", "linear_head_dim"), 16),
    **dict.fromkeys(("linear_num_key_heads",), 2),
    **dict.fromkeys(("linear_num_value_heads", "linear_num_heads"), 4),
    **dict.fromkeys(("backbone_hidden_size", "lru_width", "cross_attn_hidden_size"), 64),
    "rotary_dim": 8,
    "d_rel": 6,
    "loop_gate_rank": 6,
    "gated_norm_rank": 6,
    "hc_lowrank": 10,
    "router_hidden_size": 22,
    "adapter_rank": 10,
    "ngram_vocab_size_base": 300,
    "split_ngram_parts": 4,
    "ple_embed_dim": 64,
    "codebook_size": 32,
    "image_size": 32,
    "patch_size": 8,
    "num_position_embeddings": 16,
    "num_mel_bins": 8,
    "prompt_length": 3,
    "position_bias_num_buckets": 16,
    "num_centroids": 40,
    "block_size": 8,
    "mtp_layers_block_type": None,
    "num_nextn_predict_layers": 0,
    "num_kv_shared_layers": 0,
    "n_layers_per_attn_res_block": 2,
    "pronunciation_embed_dim": 30,
    "shape_embed_dim": 32,
    "pronunciation_vocab_size": 40,
    "shape_vocab_size": 40,
    "vision_output_dim": 64,
    "projector_input_dim": 64,
    "projector_output_dim": 64,
    **dict.fromkeys(("adapter_in_dim", "adapter_out_dim", "adapter_input_size"), 64),
}
"""Name of a number in a config -> what it becomes, wherever the config of a type has it."""

_UNSET: dict[str, Any] = {
    **{"head_dim": 16, "num_key_value_heads": 2},
    **{"num_local_experts": 6, "num_experts_per_tok": 2},
}
"""The same for numbers that must be given where a config leaves them open."""

_ROPE = {"rope_type": "default", "rope_theta": 10000.0}
_LATENT = {
    "layer_types": ["indexed_attention", "indexed_attention", "sliding_attention"] * 2,
    "num_hidden_layers": 6,
    "num_key_value_heads": 4,
    "head_dim": 24,
    **{"swa_num_attention_heads": 4, "swa_num_key_value_heads": 4, "swa_head_dim": 24},
    **{"swa_q_lora_rank": 28, "swa_kv_lora_rank": 26},
    **{"swa_qk_nope_head_dim": 16, "swa_v_head_dim": 16, "mlp_layer_types": None},
}
_BLT = ("patcher_config", "encoder_config", "decoder_config")
_SHARED = {"hidden_size_per_layer_input": 0, "vocab_size_per_layer_input": 0}
_ALL_SHARED = {**_SHARED, "num_kv_shared_layers": LAYERS, "num_hidden_layers": LAYERS}
_TWICE = ["full_attention", "sliding_attention"] * 2
_MORE: dict[str, dict[str, Any]] = {
    "bamba": {"attn_layer_indices": [1, 3]},
    "blt": {"vocab_size": VOCABULARY, **{name: {"vocab_size": VOCABULARY} for name in _BLT}},
    "cohere_compass_text": {"rope_parameters": {"full_attention": _ROPE}},
    "dbrx": {"attn_config": {"rope_theta": 10000.0, "clip_qkv": 8.0}},
    "dots1": {"n_routed_experts": 6, "num_experts_per_tok": 2, "n_shared_experts": 1},
    "dots3_note": {"text_config": _LATENT},
    "dots3_note_text": _LATENT,
    "falcon_h1": {"mamba_d_ssm": 128, "mamba_n_heads": 8, "mamba_d_head": 16},
    "gemma3n": {
        "text_config": {"num_kv_shared_layers": 2, "layer_types": _TWICE},
        "vision_config": {"architecture": "resnet10t", "model_args": None},
        "audio_config": {"conf_num_hidden_layers": 1, "hidden_size": 64},
    },
    "gemma3n_text": {"num_kv_shared_layers": 2, "layer_types": _TWICE},
    "gemma4_assistant": {
        "default": {"text_config": {"model_type": "gemma4_text", **_SHARED}},
        "text_config": _ALL_SHARED,
    },
    "gemma4_unified_assistant": {"text_config": {"num_kv_shared_layers": LAYERS}},
    "gpt_neo": {"attention_types": [[["global", "local"], 2]]},
    "granitemoehybrid": {"layer_types": ["mamba", "attention"] * 2},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 2},
    "mamba2": {"num_heads": 8, "head_dim": 16},
    "reformer": {
        "vocab_size": VOCABULARY,
        "is_decoder": True,
        "attn_layers": ["local", "lsh", "local", "lsh"],
        "axial_pos_shape": [8, 16],
        "axial_pos_embds_dim": [24, 40],
        "max_position_embeddings": 128,
        "local_attn_chunk_length": 8,
        "lsh_attn_chunk_length": 8,
        "num_buckets": 4,
        "hash_seed": 0,
    },
    "longcat_flash": {"head_dim": 8},
    "xlm": {"causal": True},
    "xlstm": {"hidden_size": 128, "embedding_dim": 128},
    "xmod": {"default_language": "en_XX"},
    "zamba": {"attention_hidden_size": 128, "attention_head_dim": 32},
    "zamba2": {"attention_hidden_size": 128, "attention_head_dim": 32},
    "qwen4_exp": {"text_config": {"layer_types": None, "indexer_n_heads": 4}},
    "qwen4_exp_text": {"layer_types": None, "indexer_n_heads": 4},
}
"""Type -> what it needs besides."""
for _qwen in (_MORE["qwen4_exp"]["text_config"], _MORE["qwen4_exp_text"]):
    _qwen |= {"indexer_kv_heads": 1, "indexer_head_dim": 16, "indexer_budget": 32}
    _qwen |= {"indexer_compress_ratio": 4}


def types() -> tuple[str, ...]:
    """Return the model types that `AutoModelForCausalLM` takes."""
    return tuple(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def tiny_config(kind: str) -> PretrainedConfig:
    """Return a small config of a model type.

    Parameters
    ----------
    kind
        As in `CONFIG_MAPPING`.
    """
    made = CONFIG_MAPPING[kind]
    default = made(**_MORE.get(kind, {}).get("default", {}))
    more = {k: v for k, v in _MORE.get(kind, {}).items() if k != "default"}
    return made(**_merged(_shrunk(default), more))


def tiny_model(kind: str, auto: Any = AutoModelForCausalLM, *, seed: int = 0) -> Any:
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
    """
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        model = auto.from_config(tiny_config(kind), dtype=torch.float32)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.is_floating_point():
                    parameter += 0.1 * torch.randn(parameter.shape)
    return model.eval()


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


def buildable(kinds: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yield every type, and why it cannot be built ('' where it can)."""
    for kind in kinds:
        try:
            tiny_model(kind)
        except Exception as error:  # whatever a model class raises
            yield kind, f"{type(error).__name__}: {' '.join(str(error).split())[:150]}"
        else:
            yield kind, ""


def _shrunk(config: PretrainedConfig) -> dict[str, Any]:
    """Return the changes that make a config small, of its sub-configs too."""
    changes: dict[str, Any] = {}
    for name, value in vars(config).items():
        if isinstance(value, PretrainedConfig):
            changes[name] = {"model_type": value.model_type, **_shrunk(value)}
        else:
            changes |= _shrunk_number(config, name, value)
    return changes


def _shrunk_number(config: PretrainedConfig, name: str, value: Any) -> dict[str, Any]:
    """Return what becomes of one entry of a config, if anything."""
    if hasattr(config, "qk_rope_head_dim"):  # then both follow from the heads' parts
        if name == "head_dim":
            return {}
        if name == "num_key_value_heads":
            return {name: _SMALL["num_attention_heads"]}
    if name == "is_decoder" and not config.is_encoder_decoder:
        return {name: True}
    if name in _SMALL and isinstance(value, int) and not isinstance(value, bool):
        small = _SMALL[name]
        exactly = small is None or "layers" in name
        return {name: small if exactly else min(value, small) or value}
    if value is None and name in _UNSET:
        return {name: _UNSET[name]}
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
    kinds = tuple(parser.parse_args().types) or types()
    logging.set_verbosity_error()
    built = 0
    for kind, reason in buildable(kinds):
        built += not reason
        if reason:
            print(f"{kind:28} {reason}", flush=True)
    print(f"{built} of {len(kinds)} types can be built")
    sys.exit(built < len(kinds))


if __name__ == "__main__":
    main()
