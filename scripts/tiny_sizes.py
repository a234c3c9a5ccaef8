"""The numbers that make a config of transformers small: by what they count, and type by type.

Which name of a config counts what is the same in most types (`NAMES`). How large each becomes is
one of the sets of `SIZES`: in `unlike` no two widths are the same, so that the axes of a tensor
cannot be confused; in `even` they coincide, as they do in many real models.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

VOCABULARY = 330
LAYERS = 4

_UNLIKE = {
    **{"width": 64, "mlp": 88, "expert": 20, "shared expert": 36, "experts": 6, "gate rank": 6},
    **{"heads": 4, "key-value heads": 2, "head": 16, "latent head": 24, "mamba head": 16},
    **{"context": 96, "axial": 24},
}
SIZES: dict[str, dict[str, int]] = {
    "unlike": _UNLIKE,
    "even": {
        **_UNLIKE,
        **{"width": 32, "mlp": 64, "expert": 32, "shared expert": 32, "experts": 4},
        **{"key-value heads": 4, "head": 8, "latent head": 16, "mamba head": 8, "axial": 8},
    },
}
"""Set of sizes -> what is counted -> how many."""

NAMES: dict[str, str] = {
    "width": "hidden_size d_model n_embd dim emb_dim embed_dim embedding_size embedding_dim "
    "word_embed_proj_dim hidden_size_global attention_hidden_size out_hidden_size "
    "backbone_hidden_size lru_width cross_attn_hidden_size ple_embed_dim vision_output_dim "
    "projector_input_dim projector_output_dim adapter_in_dim adapter_out_dim "
    "adapter_input_size",
    "mlp": "intermediate_size ffn_dim decoder_ffn_dim encoder_ffn_dim ffn_hidden_size d_ff "
    "dim_ff dff d_inner n_inner feed_forward_size intermediate_size_mlp mlp_dim "
    "dense_intermediate_size shared_intermediate_size",
    "expert": "moe_intermediate_size expert_ffn_hidden_size",
    "shared expert": "shared_expert_intermediate_size shared_experts_intermediate_size "
    "moe_shared_expert_intermediate_size",
    "experts": "num_experts n_routed_experts num_local_experts moe_num_experts zero_expert_num",
    "heads": "num_attention_heads n_head n_heads num_heads encoder_attention_heads "
    "decoder_attention_heads num_encoder_attention_heads num_decoder_attention_heads "
    "attention_heads swa_num_attention_heads",
    "key-value heads": "num_key_value_heads kv_n_heads swa_num_key_value_heads num_kv_heads",
    "head": "head_dim dim_head d_kv swa_head_dim d_head kv_channels attention_head_size "
    "qk_nope_head_dim v_head_dim",
    "latent head": "qk_head_dim",
    "mamba head": "mamba_d_head mamba_head_dim mamba_headdim",
    "gate rank": "time_step_rank mamba_dt_rank d_rel loop_gate_rank gated_norm_rank",
    "context": "max_position_embeddings n_positions n_ctx max_seq_len max_target_positions "
    "max_source_positions context_length",
}
"""What is counted -> the names of its numbers in configs."""

_FIXED: dict[str, Any] = {
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers"), LAYERS),
    **dict.fromkeys(("encoder_layers", "decoder_layers"), LAYERS),
    **dict.fromkeys(("num_encoder_layers", "num_decoder_layers"), LAYERS),
    **dict.fromkeys(("depth", "num_blocks"), 2),
    **dict.fromkeys(("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k"), 2),
    "moe_top_k": 2,
    **dict.fromkeys(("n_group", "topk_group", "num_expert_group"), 1),
    **dict.fromkeys(("n_shared_experts", "num_shared_experts", "moe_num_shared_experts"), 1),
    **dict.fromkeys(("first_k_dense_replace", "num_dense_layers", "moe_layer_start_index"), 1),
    **dict.fromkeys(("q_lora_rank", "o_lora_rank"), 28),
    **{"kv_lora_rank": 26, "qk_rope_head_dim": 8},
    **{"index_head_dim": 16, "index_n_heads": 4, "index_topk": 32},
    **dict.fromkeys(("sliding_window", "local_attention", "sliding_window_size"), 16),
    **dict.fromkeys(("attention_window_size", "attention_chunk_size", "window_size"), 16),
    **dict.fromkeys(("vocab_size", "vocab_size_per_layer_input", "decoder_vocab_size"), VOCABULARY),
    **dict.fromkeys(("unpadded_vocab_size", "encoder_hash_byte_group_vocab"), VOCABULARY),
    **{"hidden_size_per_layer_input": 18, "laurel_rank": 10},
    **{"input_embedding_size": 34, "output_embedding_size": 44},
    **dict.fromkeys(("state_size", "mamba_d_state", "ssm_state_size"), 14),
    **dict.fromkeys(("mamba_n_heads", "mamba_num_heads"), 8),
    **dict.fromkeys(("n_groups", "mamba_n_groups", "mamba_ngroups", "o_groups"), 2),
    **dict.fromkeys(("chunk_size", "mamba_chunk_size"), 16),
    **dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim", "linear_head_dim"), 16),
    "linear_num_key_heads": 2,
    **dict.fromkeys(("linear_num_value_heads", "linear_num_heads"), 4),
    **{"rotary_dim": 8, "hc_lowrank": 10, "router_hidden_size": 22, "adapter_rank": 10},
    **{"ngram_vocab_size_base": 300, "split_ngram_parts": 4, "codebook_size": 32},
    **{"image_size": 32, "patch_size": 8, "num_position_embeddings": 16, "num_mel_bins": 8},
    **{"prompt_length": 3, "position_bias_num_buckets": 16, "num_centroids": 40, "block_size": 8},
    **{"mtp_layers_block_type": None, "num_nextn_predict_layers": 0, "num_kv_shared_layers": 0},
    "n_layers_per_attn_res_block": 2,
    **{"pronunciation_embed_dim": 30, "shape_embed_dim": 32},
    **{"pronunciation_vocab_size": 40, "shape_vocab_size": 40},
}
"""Name of a number in a config -> what it becomes in every set of sizes."""


@cache
def small_numbers(sizes: str = "unlike") -> dict[str, Any]:
    """Return what a number becomes wherever the config of a type has it, by its name.

    Parameters
    ----------
    sizes
        A key of `SIZES`.
    """
    n = SIZES[sizes]
    named = {name: n[counted] for counted, names in NAMES.items() for name in names.split()}
    return {**_FIXED, **named, "mamba_d_ssm": 2 * n["width"]}


@cache
def given_numbers(sizes: str = "unlike") -> dict[str, Any]:
    """Return the same for numbers that must be given where a config leaves them open."""
    small = small_numbers(sizes)
    names = ("head_dim", "num_key_value_heads", "num_local_experts", "num_experts_per_tok")
    return {name: small[name] for name in names}


def of_type(kind: str, sizes: str = "unlike") -> Mapping[str, Any]:
    """Return what the config of one type needs besides; ``default`` is for its first making.

    Parameters
    ----------
    kind
        As in `CONFIG_MAPPING`.
    sizes
        A key of `SIZES`.
    """
    return {**_OF_TYPE.get(kind, {}), **_in_sizes(SIZES[sizes]).get(kind, {})}


_ROPE = {"rope_type": "default", "rope_theta": 10000.0}
_BLT = ("patcher_config", "encoder_config", "decoder_config")
_SHARED = {"hidden_size_per_layer_input": 0, "vocab_size_per_layer_input": 0}
_ALL_SHARED = {**_SHARED, "num_kv_shared_layers": LAYERS, "num_hidden_layers": LAYERS}
_TWICE = ["full_attention", "sliding_attention"] * 2
_TWO_AND_SHARED = {"num_experts_per_tok": 2, "n_shared_experts": 1}
_SWIN = {  # 3, 6, 12 and 24 heads, as by default; maps of 16, 8, 4 and 2 patches
    **{"embed_dim": 24, "depths": [1, 1, 2, 1], "image_size": 64, "window_size": 2},
}
_QWEN = {
    **{"layer_types": None, "indexer_n_heads": 4, "indexer_kv_heads": 1, "indexer_head_dim": 16},
    **{"indexer_budget": 32, "indexer_compress_ratio": 4},
}
_OF_TYPE: dict[str, dict[str, Any]] = {
    "bamba": {"attn_layer_indices": [1, 3]},
    "blt": {"vocab_size": VOCABULARY, **{name: {"vocab_size": VOCABULARY} for name in _BLT}},
    "cohere_compass_text": {"rope_parameters": {"full_attention": _ROPE}},
    "dbrx": {"attn_config": {"rope_theta": 10000.0, "clip_qkv": 8.0}},
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
    "longcat_flash": {"head_dim": 8},
    **dict.fromkeys(("swin", "swinv2", "donut-swin", "maskformer-swin"), _SWIN),
    "xlm": {"causal": True},
    "xmod": {"default_language": "en_XX"},
    "qwen4_exp": {"text_config": _QWEN},
    "qwen4_exp_text": _QWEN,
}
"""Type -> what it needs besides, in every set of sizes."""


def _in_sizes(n: Mapping[str, int]) -> dict[str, dict[str, Any]]:
    """Return what types need besides that depends on the sizes: widths that others decide."""
    width, twice = n["width"], 2 * n["width"]
    zamba = {"attention_hidden_size": twice, "attention_head_dim": twice // n["heads"]}
    latent = _latent(n)
    return {
        "dots1": {"n_routed_experts": n["experts"], **_TWO_AND_SHARED},
        "dots3_note": {"text_config": latent},
        "dots3_note_text": latent,
        "falcon_h1": {"mamba_d_ssm": twice, "mamba_n_heads": 8, "mamba_d_head": n["mamba head"]},
        "gemma3n": {
            "text_config": {"num_kv_shared_layers": 2, "layer_types": _TWICE},
            "vision_config": {"architecture": "resnet10t", "model_args": None},
            "audio_config": {"conf_num_hidden_layers": 1, "hidden_size": width},
        },
        "longformer": {"attention_window": 16},
        "perceiver": {
            **{"num_latents": 24, "d_latents": 64, "num_self_attends_per_block": 2},
            **{"num_self_attention_heads": 4, "num_cross_attention_heads": 4},
        },
        "led": {"attention_window": 16},
        "mamba2": {"num_heads": 8, "head_dim": n["mamba head"]},
        "reformer": {
            **{"vocab_size": VOCABULARY, "is_decoder": True, "num_buckets": 4, "hash_seed": 0},
            **{"attn_layers": ["local", "lsh"] * 2, "max_position_embeddings": 128},
            **{"local_attn_chunk_length": 8, "lsh_attn_chunk_length": 8},
            **{"axial_pos_shape": [8, 16], "axial_pos_embds_dim": [n["axial"], width - n["axial"]]},
        },
        "xlstm": {"hidden_size": twice, "embedding_dim": twice},
        "zamba": zamba,
        "zamba2": zamba,
    }


def _latent(n: Mapping[str, int]) -> dict[str, Any]:
    """Return what latent attention needs whose full and windowed layers are alike."""
    return {
        "layer_types": ["indexed_attention", "indexed_attention", "sliding_attention"] * 2,
        "mlp_layer_types": None,
        **{"num_hidden_layers": 6, "num_key_value_heads": 4, "head_dim": n["latent head"]},
        **{"swa_num_attention_heads": 4, "swa_num_key_value_heads": 4},
        **{"swa_head_dim": n["latent head"], "swa_q_lora_rank": 28, "swa_kv_lora_rank": 26},
        **{"swa_qk_nope_head_dim": n["head"], "swa_v_head_dim": n["head"]},
    }
