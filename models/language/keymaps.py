"""What files call the weights of a LLaMA, and what we call them; and config.json, read as our config.

Two of our matrices are fused from several of theirs; a table names the pieces ("blocks.3.qkv.q.weight"), `assemble`
stacks them. Hugging Face keeps each head's features in the half-split order, so queries and keys are reordered to
neighbouring pairs; GGUF files of the LLaMA family have that order already.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from models.checkpoint import CheckpointError, Keymap, map_names
from models.language.llama import LlamaConfig
from models.nn.rope import RopeScaling, half_split_to_pairs

FUSED = {
    "qkv.weight": ("qkv.q.weight", "qkv.k.weight", "qkv.v.weight"),
    "gate_up.weight": ("gate_up.gate.weight", "gate_up.up.weight"),
}
HF_CLASSES = ("LlamaForCausalLM", "MistralForCausalLM")


def hf_keymap(config: LlamaConfig) -> Keymap:
    """Names of transformers' `LlamaForCausalLM`."""
    layer = "model.layers.{i}."
    return {
        "model.embed_tokens.weight": "tokens.weight",
        layer + "input_layernorm.weight": "blocks.{i}.attention_norm.weight",
        layer + "self_attn.q_proj.weight": ("blocks.{i}.qkv.q.weight", partial(half_split_to_pairs, n_heads=config.n_heads)),
        layer + "self_attn.k_proj.weight": ("blocks.{i}.qkv.k.weight", partial(half_split_to_pairs, n_heads=config.n_kv_heads)),
        layer + "self_attn.v_proj.weight": "blocks.{i}.qkv.v.weight",
        layer + "self_attn.o_proj.weight": "blocks.{i}.out.weight",
        layer + "self_attn.rotary_emb.inv_freq": None,  # old files carry the table; it is computed
        layer + "post_attention_layernorm.weight": "blocks.{i}.ffn_norm.weight",
        layer + "mlp.gate_proj.weight": "blocks.{i}.gate_up.gate.weight",
        layer + "mlp.up_proj.weight": "blocks.{i}.gate_up.up.weight",
        layer + "mlp.down_proj.weight": "blocks.{i}.down.weight",
        "model.norm.weight": "norm_out.weight",
        "lm_head.weight": None if config.tied else "unembed.weight",
    }


def gguf_keymap(config: LlamaConfig) -> Keymap:
    """Names of llama.cpp's "llama" architecture."""
    layer = "blk.{i}."
    return {
        "token_embd.weight": "tokens.weight",
        layer + "attn_norm.weight": "blocks.{i}.attention_norm.weight",
        layer + "attn_q.weight": "blocks.{i}.qkv.q.weight",
        layer + "attn_k.weight": "blocks.{i}.qkv.k.weight",
        layer + "attn_v.weight": "blocks.{i}.qkv.v.weight",
        layer + "attn_output.weight": "blocks.{i}.out.weight",
        layer + "ffn_norm.weight": "blocks.{i}.ffn_norm.weight",
        layer + "ffn_gate.weight": "blocks.{i}.gate_up.gate.weight",
        layer + "ffn_up.weight": "blocks.{i}.gate_up.up.weight",
        layer + "ffn_down.weight": "blocks.{i}.down.weight",
        layer + "attn_rot_embd.weight": None,
        "output_norm.weight": "norm_out.weight",
        "output.weight": "unembed.weight",
        "rope_freqs.weight": None,  # read into the config
    }


def assemble(
    wanted: dict[str, torch.Size],
    names: Iterable[str],
    read: Callable[[str], Tensor],
    keymap: Keymap,
    title: str,
    shape: Callable[[str], tuple[int, ...]] | None = None,
) -> Iterator[tuple[str, Tensor]]:
    """(our name, tensor) for every weight in `wanted`, read and fused one at a time.

    Names are checked before anything is read, and shapes too if `shape(name)` knows them. Raises CheckpointError if a
    name is unknown or missing, or a shape differs.
    """
    mapped = map_names(names, keymap)
    pieces = {name: _pieces(name) for name in wanted}
    needed = {piece for parts in pieces.values() for piece in parts}
    if missing := sorted(needed - set(mapped)):
        raise CheckpointError(f"{title} lacks {missing[0]} ({len(missing)} weights are missing).", "Fetch all files of the model again.")
    if extra := sorted(set(mapped) - needed):
        raise CheckpointError(f"{title} holds {mapped[extra[0]][0]}, which a model of this config does not have.")
    if shape is not None:
        for name, parts in pieces.items():
            _check_shape(name, [shape(mapped[piece][0]) for piece in parts], wanted[name], title)
    for name, parts in pieces.items():
        tensors = [_read(read, *mapped[piece], title) for piece in parts]
        _check_shape(name, [tensor.shape for tensor in tensors], wanted[name], title)
        yield name, torch.cat(tensors) if len(tensors) > 1 else tensors[0]


def _check_shape(name: str, given: list[tuple[int, ...]], wanted: torch.Size, title: str) -> None:
    stacked = (sum(one[0] for one in given), *given[0][1:]) if all(given) else ()
    if stacked != tuple(wanted) or len({tuple(one[1:]) for one in given}) > 1:
        raise CheckpointError(f"{name} in {title} has the shape {stacked}, the config asks for {tuple(wanted)}.")


def _pieces(name: str) -> tuple[str, ...]:
    for fused, parts in FUSED.items():
        if name.endswith("." + fused):
            return tuple(name.removesuffix(fused) + part for part in parts)
    return (name,)


def _read(read: Callable[[str], Tensor], theirs: str, transform: Callable[[Tensor], Tensor] | None, title: str) -> Tensor:
    tensor = read(theirs)
    if not tensor.is_floating_point():
        raise CheckpointError(f"{theirs} in {title} holds whole numbers, which is no format that is read.")
    return tensor if transform is None else transform(tensor)


# --- config.json ---


def config_from_json(data: Any, title: str) -> LlamaConfig:
    """transformers' config.json as ours; CheckpointError if it is another architecture or lacks a size."""
    if not isinstance(data, dict):
        raise CheckpointError(f"The config.json of {title} is not an object.")
    classes = data.get("architectures") or HF_CLASSES[:1]
    if data.get("model_type") not in ("llama", "mistral") or not set(classes) & set(HF_CLASSES):
        kind = str(data.get("model_type"))[:40]
        raise CheckpointError(f"{title} is a {kind!r} model; of models without experts only the LLaMA family is read.")
    window = data.get("sliding_window")
    for flaw in ("attention_bias", "mlp_bias", "quantization_config"):
        if data.get(flaw):
            raise CheckpointError(f"{title} has {flaw}, which is not read.")
    try:
        scaling, max_len = _hf_scaling(data), _size(data, "max_position_embeddings")
        if scaling is not None and scaling.kind == "dynamic":
            max_len = int(max_len * scaling.factor)
        return LlamaConfig(
            dim=_size(data, "hidden_size"), n_layers=_size(data, "num_hidden_layers"),
            n_heads=_size(data, "num_attention_heads"),
            n_kv_heads=_size(data, "num_key_value_heads", "num_attention_heads"),
            head_dim=_size(data, "head_dim") if data.get("head_dim") else _size(data, "hidden_size") // _size(data, "num_attention_heads"),
            ffn_dim=_size(data, "intermediate_size"), vocab_size=_size(data, "vocab_size"),
            max_len=min(max_len, window) if isinstance(window, int) else max_len,
            norm_eps=_float(data, "rms_norm_eps", 1e-6), rope_theta=_theta(data), rope_scaling=scaling,
            tied=bool(data.get("tie_word_embeddings", False)),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, ArithmeticError) as error:
        raise CheckpointError(f"The config.json of {title} cannot be used: {error}.") from None


def _size(data: dict, key: str, otherwise: str | None = None) -> int:
    value = data.get(key)
    value = data.get(otherwise) if value is None and otherwise else value
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{key} is {str(value)[:40]!r} and not a number")
    return value


def _float(data: dict, key: str, default: float) -> float:
    value = data.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{key} is {str(value)[:40]!r} and not a number")
    return float(value)


def _rope(data: dict) -> dict:
    """transformers 5 has rope_parameters, 4 had rope_scaling and rope_theta beside it."""
    rope = data.get("rope_parameters") or data.get("rope_scaling") or {}
    if not isinstance(rope, dict):
        raise ValueError("rope_parameters are not an object")
    return rope


def _theta(data: dict) -> float:
    return _float(_rope(data), "rope_theta", _float(data, "rope_theta", 10_000.0))


def _hf_scaling(data: dict) -> RopeScaling | None:
    rope = _rope(data)
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "default":
        return None
    if kind not in ("linear", "dynamic", "llama3", "yarn") or rope.get("mscale"):
        raise ValueError(f"rope_type {str(kind)[:40]!r} is unknown, or one with mscale")
    names = {"low_freq_factor", "high_freq_factor", "beta_fast", "beta_slow", "attention_factor"}
    given = {name: _float(rope, name, 0.0) for name in names if rope.get(name) is not None}
    original = None if kind == "dynamic" else rope.get("original_max_position_embeddings")
    original = original or _size(data, "max_position_embeddings")
    return RopeScaling(kind, _float(rope, "factor", 1.0), int(original), truncate=bool(rope.get("truncate", True)), **given)
