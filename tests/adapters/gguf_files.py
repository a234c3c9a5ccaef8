"""Write a Llama as a GGUF file, as the converter of llama.cpp does."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

_OUTSIDE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
_INSIDE = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def write_gguf(path: Path, model: Any, tokenizer: Any, kind: str) -> dict[str, np.ndarray]:
    """Write a Llama and its byte-level BPE; return the weights that the file holds, in float32.

    Parameters
    ----------
    path
        The file to write.
    model, tokenizer
        A Llama of transformers, and a tokenizer as `tokenizer_of` makes it.
    kind
        How matrices are stored: a name of ``gguf.GGMLQuantizationType``.
    """
    import gguf

    writer = gguf.GGUFWriter(path, "llama")
    config = model.config
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    _add_tokenizer(writer, tokenizer, config)
    stored = {}
    for name, tensor in model.state_dict().items():
        values = tensor.numpy()
        if values.ndim == 1:
            written, stored[name] = values, values
            writer.add_tensor(_gguf_name(name), values)
            continue
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
        n = next((n for part, n in heads.items() if part in name), 0)
        written = gguf.quants.quantize(_interleaved(values, n), gguf.GGMLQuantizationType[kind])
        writer.add_tensor(_gguf_name(name), written, raw_dtype=gguf.GGMLQuantizationType[kind])
        decoded = gguf.quants.dequantize(written, gguf.GGMLQuantizationType[kind])
        stored[name] = _interleaved(decoded, n, back=True)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return stored


def _add_tokenizer(writer: Any, tokenizer: Any, config: Any) -> None:
    content = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    tokens = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    filled = [token for token, _ in tokens]
    filled += [f"<unused{n}>" for n in range(config.vocab_size - len(tokens))]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(filled)
    writer.add_token_types([1] * len(filled))
    writer.add_token_merges([" ".join(pair) for pair in content["merges"]])
    writer.add_bos_token_id(config.bos_token_id)
    writer.add_eos_token_id(config.eos_token_id)


def _gguf_name(name: str) -> str:
    path = name.removesuffix(".weight")
    if path in _OUTSIDE:
        return f"{_OUTSIDE[path]}.weight"
    _, _, number, inner = path.split(".", 3)
    return f"blk.{number}.{_INSIDE[inner]}.weight"


def _interleaved(matrix: np.ndarray, n_heads: int, *, back: bool = False) -> np.ndarray:
    """Return rows in the order of llama.cpp's rotary embedding; 0 heads: as they are."""
    if not n_heads:
        return np.ascontiguousarray(matrix)
    half = len(matrix) // n_heads // 2
    order = (n_heads, half, 2) if back else (n_heads, 2, half)
    rows = matrix.reshape(*order, -1).swapaxes(1, 2)
    return np.ascontiguousarray(rows.reshape(matrix.shape))


def as_tensors(stored: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """Return arrays as tensors."""
    return {name: torch.from_numpy(np.array(values)) for name, values in stored.items()}
