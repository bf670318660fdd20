"""Mixture-of-experts checkpoints of Hugging Face's layout: config.json as our configs, their names of weights as ours.

What a sparse decoder has in common with a LLaMA is read by the same code (`keymaps.config_from_json`). Files hold every
expert's matrices on their own, we keep all experts of a layer in one tensor: a table names the pieces
("blocks.3.ffn.experts.gate_up.7.gate"), `assemble` puts them in place; files written by transformers 5 in its own layout
hold the stacked tensors. Queries and keys are reordered to neighbouring rotary pairs, unless the file has them so.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.checkpoint import Checkpoint, CheckpointError, Keymap, Progress, map_names
from models.language import keymaps
from models.language.deepseek_v3 import DeepseekV3, DeepseekV3Config
from models.language.gating import Groups
from models.language.llama import LlamaConfig
from models.language.loading import free_memory
from models.language.moe import Mixtral, MixtralConfig
from models.language.olmoe import Olmoe, OlmoeConfig
from models.language.qwen2_moe import Qwen2Moe, Qwen2MoeConfig
from models.language.qwen3_moe import Qwen3Moe, Qwen3MoeConfig
from models.language.sparse_decoder import SparseDecoder
from models.language.tokenizer_files import read_json
from models.nn.mla import LatentSizes
from models.nn.rope import half_split_to_pairs

LAYER = "model.layers.{i}."


@dataclass(frozen=True)
class Family:
    """One architecture: how its config is read, what is built of it, and its table of names."""

    read: Callable[[dict, LlamaConfig], Any]
    build: Callable[[Any], SparseDecoder]
    keymap: Callable[[Any, dict], Keymap]


# --- config.json ---


def family_of(data: Any, title: str) -> Family:
    """The architecture that a config.json names; CheckpointError if it is none of ours."""
    kind = data.get("model_type") if isinstance(data, dict) else None
    if kind not in FAMILIES:
        raise CheckpointError(
            f"{title} is a {str(kind)[:40]!r} model; of the models with experts {', '.join(FAMILIES)} are read."
        )
    return FAMILIES[kind]


def config_from_json(data: Any, title: str) -> Any:
    """transformers' config.json as the config of its family; CheckpointError if a size is missing or nothing fits."""
    family = family_of(data, title)
    plain = {**data, "model_type": "llama", "architectures": None}
    for name in ("rope_parameters", "rope_scaling"):
        if isinstance(data.get(name), dict):  # mscale is DeepSeek's, see `_stretched`
            plain[name] = {key: value for key, value in data[name].items() if not key.startswith("mscale")}
    if not data.get("use_sliding_window", True):
        plain["sliding_window"] = None
    if data.get("intermediate_size") is None:
        plain["intermediate_size"] = data.get("moe_intermediate_size")
    common = keymaps.config_from_json(plain, title)
    try:
        return family.read(data, common)
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"The config.json of {title} cannot be used: {error}.") from None


def _number(data: dict, *names: str) -> int:
    """The first of several spellings that is there."""
    value = next((data[name] for name in names if data.get(name) is not None), None)
    if type(value) is not int or value < 0:
        raise ValueError(f"{names[0]} is {str(value)[:40]!r} and not a number")
    return value


def _common(llama: LlamaConfig, *left_out: str) -> dict[str, Any]:
    """The fields that a LLaMA's config has, too."""
    return {name: value for name, value in vars(llama).items() if name not in left_out}


def _read_mixtral(data: dict, llama: LlamaConfig) -> MixtralConfig:
    return MixtralConfig(
        **_common(llama), n_experts=_number(data, "num_local_experts", "num_experts"), top_k=_number(data, "num_experts_per_tok")
    )


def _read_olmoe(data: dict, llama: LlamaConfig) -> OlmoeConfig:
    if data.get("norm_topk_prob"):
        raise ValueError("norm_topk_prob is on, which no published OLMoE has")
    clip = data.get("clip_qkv")
    return OlmoeConfig(
        **_common(llama), n_experts=_number(data, "num_experts", "num_local_experts"), top_k=_number(data, "num_experts_per_tok"),
        clip=None if clip is None else float(clip),
    )  # fmt: skip


def _qwen(data: dict, llama: LlamaConfig) -> dict[str, Any]:
    every, n = _number(data, "decoder_sparse_step"), llama.n_layers
    if every < 1:
        raise ValueError("decoder_sparse_step is 0")
    dense = {layer for layer in range(n) if (layer + 1) % every} | set(data.get("mlp_only_layers") or ())
    return {
        **_common(llama, "ffn_dim"), "ffn_dim": _number(data, "moe_intermediate_size"), "dense_dim": llama.ffn_dim,
        "dense_layers": frozenset(dense), "n_experts": _number(data, "num_experts", "num_local_experts"),
        "top_k": _number(data, "num_experts_per_tok"), "normalise": bool(data.get("norm_topk_prob", False)),
    }  # fmt: skip


def _read_qwen2(data: dict, llama: LlamaConfig) -> Qwen2MoeConfig:
    if not data.get("qkv_bias", True):
        raise ValueError("qkv_bias is off, which no published Qwen2-MoE has")
    return Qwen2MoeConfig(**_qwen(data, llama), shared_dim=_number(data, "shared_expert_intermediate_size"))


def _read_qwen3(data: dict, llama: LlamaConfig) -> Qwen3MoeConfig:
    return Qwen3MoeConfig(**_qwen(data, llama))


def _read_deepseek(data: dict, llama: LlamaConfig) -> DeepseekV3Config:
    expected = {"scoring_func": "sigmoid", "topk_method": "noaux_tc", "moe_layer_freq": 1}
    for name, value in expected.items():
        if data.get(name, value) != value:
            raise ValueError(f"{name} is {str(data[name])[:40]!r}, not {value!r}")
    sizes = LatentSizes(
        n_heads=llama.n_heads, q_rank=None if data.get("q_lora_rank") is None else _number(data, "q_lora_rank"),
        kv_rank=_number(data, "kv_lora_rank"), nope_dim=_number(data, "qk_nope_head_dim"),
        rope_dim=_number(data, "qk_rope_head_dim"), v_dim=_number(data, "v_head_dim"),
    )  # fmt: skip
    scaling, sharpen = _stretched(data, llama)
    depth = next((data[name] for name in ("num_nextn_predict_layers", "num_mtp_layers") if data.get(name) is not None), 0)
    return DeepseekV3Config(
        **_common(llama, "n_heads", "n_kv_heads", "head_dim", "ffn_dim", "rope_scaling"), attention=sizes,
        n_dense=min(_number(data, "first_k_dense_replace"), llama.n_layers), ffn_dim=_number(data, "moe_intermediate_size"),
        dense_dim=llama.ffn_dim, n_experts=_number(data, "n_routed_experts", "num_local_experts"),
        n_shared=_number(data, "n_shared_experts"), top_k=_number(data, "num_experts_per_tok"),
        groups=Groups(count=_number(data, "n_group"), allowed=_number(data, "topk_group")),
        normalise=bool(data.get("norm_topk_prob", True)), factor=float(data.get("routed_scaling_factor", 1.0)),
        mtp_depth=int(depth), rope_scaling=scaling, sharpen=sharpen,
    )  # fmt: skip


def _stretched(data: dict, llama: LlamaConfig):
    """DeepSeek's YaRN splits its sharpening: `mscale` over queries and keys, `mscale_all_dim` over the whole score."""
    scaling, rope = llama.rope_scaling, data.get("rope_parameters") or data.get("rope_scaling") or {}
    if scaling is None or scaling.kind != "yarn":
        return scaling, 1.0

    def mscale(name: str) -> float:
        weight = float(rope.get(name) or 0.0)
        return 0.1 * weight * math.log(scaling.factor) + 1.0 if weight and scaling.factor > 1 else 1.0

    if scaling.attention_factor is None and rope.get("mscale") and rope.get("mscale_all_dim"):
        scaling = replace(scaling, attention_factor=mscale("mscale") / mscale("mscale_all_dim"))
    return scaling, mscale("mscale_all_dim") ** 2


# --- names ---


def _shell(tied: bool) -> dict[str, Any]:
    return {
        "model.embed_tokens.weight": "tokens.weight",
        "model.norm.weight": "norm_out.weight",
        "lm_head.weight": None if tied else "unembed.weight",
        LAYER + "self_attn.rotary_emb.inv_freq": None,  # old files carry the table; it is computed
    }


def _attention(config: Any) -> dict[str, Any]:
    """Grouped-query attention with half-split heads; weights and biases."""
    q, k = (partial(half_split_to_pairs, n_heads=n) for n in (config.n_heads, config.n_kv_heads))
    return {
        LAYER + "input_layernorm.weight": "blocks.{i}.attention_norm.weight",
        LAYER + "self_attn.q_proj": ("blocks.{i}.q", q),
        LAYER + "self_attn.k_proj": ("blocks.{i}.k", k),
        LAYER + "self_attn.v_proj": "blocks.{i}.v",
        LAYER + "self_attn.o_proj": "blocks.{i}.out",
        LAYER + "post_attention_layernorm.weight": "blocks.{i}.ffn_norm.weight",
    }


def _experts(theirs: str, ours: str, gate: str = "gate_proj", up: str = "up_proj", down: str = "down_proj") -> dict[str, Any]:
    """A gate and its experts under both layouts; `theirs` and `ours` are the places of the layer."""
    return {
        theirs + "gate.weight": ours + "gate.weight",
        theirs + "experts.{e}." + gate + ".weight": ours + "experts.gate_up.{e}.gate",
        theirs + "experts.{e}." + up + ".weight": ours + "experts.gate_up.{e}.up",
        theirs + "experts.{e}." + down + ".weight": ours + "experts.down.{e}",
        theirs + "experts.gate_up_proj": ours + "experts.gate_up",
        theirs + "experts.down_proj": ours + "experts.down",
    }


def _net(theirs: str, ours: str) -> dict[str, str]:
    """A dense gated net."""
    return {
        theirs + "gate_proj.weight": ours + "gate_up.gate.weight",
        theirs + "up_proj.weight": ours + "gate_up.up.weight",
        theirs + "down_proj.weight": ours + "down.weight",
    }


def mixtral_keymap(config: MixtralConfig, data: dict) -> Keymap:
    """Names of `MixtralForCausalLM`, as published and as transformers 5 has them in memory."""
    published = _experts(LAYER + "block_sparse_moe.", "blocks.{i}.ffn.", "w1", "w3", "w2")
    return {**_shell(config.tied), **_attention(config), **published, **_experts(LAYER + "mlp.", "blocks.{i}.ffn.")}


def olmoe_keymap(config: OlmoeConfig, data: dict) -> Keymap:
    """Names of `OlmoeForCausalLM`; the norms over all heads are reordered with them."""
    q, k = (partial(half_split_to_pairs, n_heads=n) for n in (config.n_heads, config.n_kv_heads))
    norms = {
        LAYER + "self_attn.q_norm.weight": ("blocks.{i}.q_norm.weight", q),
        LAYER + "self_attn.k_norm.weight": ("blocks.{i}.k_norm.weight", k),
    }
    return {**_shell(config.tied), **_attention(config), **norms, **_experts(LAYER + "mlp.", "blocks.{i}.ffn.")}


def qwen2_keymap(config: Qwen2MoeConfig, data: dict) -> Keymap:
    """Names of `Qwen2MoeForCausalLM`."""
    mlp = LAYER + "mlp."
    return {
        **_shell(config.tied), **_attention(config), **_experts(mlp, "blocks.{i}.ffn."), **_net(mlp, "blocks.{i}.ffn."),
        **_net(mlp + "shared_expert.", "blocks.{i}.ffn.shared."), mlp + "shared_expert_gate.weight": "blocks.{i}.ffn.door.weight",
    }  # fmt: skip


def qwen3_keymap(config: Qwen3MoeConfig, data: dict) -> Keymap:
    """Names of `Qwen3MoeForCausalLM`; the norm of one head is reordered as a single head is."""
    one = partial(half_split_to_pairs, n_heads=1)
    norms = {
        LAYER + "self_attn.q_norm.weight": ("blocks.{i}.q_norm.weight", one),
        LAYER + "self_attn.k_norm.weight": ("blocks.{i}.k_norm.weight", one),
    }
    mlp = LAYER + "mlp."
    return {
        **_shell(config.tied), **_attention(config), **norms, **_experts(mlp, "blocks.{i}.ffn."), **_net(mlp, "blocks.{i}.ffn."),
    }  # fmt: skip


def deepseek_keymap(config: DeepseekV3Config, data: dict) -> Keymap:
    """Names of `DeepseekV3ForCausalLM`, and of the prediction modules as `tell_apart` spells them."""
    theirs, ours = "mtp.{d}.", "mtp.{d}."
    return {
        **_shell(config.tied), **_latent_block(LAYER, "blocks.{i}.", config, data),
        **_latent_block(theirs, ours + "block.", config, data),
        theirs + "enorm.weight": ours + "token_norm.weight", theirs + "hnorm.weight": ours + "hidden_norm.weight",
        theirs + "eh_proj.weight": ours + "join.weight", theirs + "shared_head.norm.weight": ours + "norm_out.weight",
        theirs + "embed_tokens.weight": None, theirs + "shared_head.head.weight": None,  # the model's own
    }  # fmt: skip


def tell_apart(names: Iterable[str], n_layers: int) -> dict[str, str]:
    """{spelling in our tables: name in the file}: files number prediction modules as further layers, here they are mtp.0, mtp.1 …"""
    found = {}
    for name in names:
        match = re.match(r"model\.layers\.(\d+)\.", name)
        beyond = int(match[1]) - n_layers if match else -1
        found[f"mtp.{beyond}.{name[match.end():]}" if beyond >= 0 else name] = name
    return found


def _latent_block(theirs: str, ours: str, config: DeepseekV3Config, data: dict) -> dict[str, Any]:
    s, attention, mlp = config.attention, theirs + "self_attn.", theirs + "mlp."
    paired = data.get("rope_interleave", True)
    q = partial(_pair_rotary, heads=s.n_heads, rope_dim=0 if paired else s.rope_dim)
    kv = partial(_pair_rotary, heads=1, rope_dim=0 if paired else s.rope_dim)
    return {
        theirs + "input_layernorm.weight": ours + "attention_norm.weight",
        attention + "q_proj.weight": (ours + "attention.q_up.weight", q),
        attention + "q_a_proj.weight": ours + "attention.q_down.weight",
        attention + "q_a_layernorm.weight": ours + "attention.q_norm.weight",
        attention + "q_b_proj.weight": (ours + "attention.q_up.weight", q),
        attention + "kv_a_proj_with_mqa.weight": (ours + "attention.kv_down.weight", kv),
        attention + "kv_a_layernorm.weight": ours + "attention.kv_norm.weight",
        attention + "kv_b_proj.weight": ours + "attention.kv_up.weight",
        attention + "o_proj.weight": ours + "attention.out.weight",
        attention + "rotary_emb.inv_freq": None,
        theirs + "post_attention_layernorm.weight": ours + "ffn_norm.weight",
        mlp + "gate.e_score_correction_bias": ours + "ffn.bias",
        **_experts(mlp, ours + "ffn."), **_net(mlp, ours + "ffn."), **_net(mlp + "shared_experts.", ours + "ffn.shared."),
    }  # fmt: skip


def _pair_rotary(weight: Tensor, heads: int, rope_dim: int) -> Tensor:
    """Reorder the last `rope_dim` rows of each head from half-split to pairs; 0 leaves all as it is."""
    if rope_dim == 0:
        return weight
    rows = weight.unflatten(0, (heads, -1))                                 # (H, nope + rope, in)
    plain, rotary = rows[:, :-rope_dim], rows[:, -rope_dim:]
    turned = half_split_to_pairs(rotary.flatten(0, 1), heads).unflatten(0, (heads, -1))
    return torch.cat([plain, turned], dim=1).flatten(0, 1)


FAMILIES = {
    "mixtral": Family(_read_mixtral, Mixtral, mixtral_keymap),
    "olmoe": Family(_read_olmoe, Olmoe, olmoe_keymap),
    "qwen2_moe": Family(_read_qwen2, Qwen2Moe, qwen2_keymap),
    "qwen3_moe": Family(_read_qwen3, Qwen3Moe, qwen3_keymap),
    "deepseek_v3": Family(_read_deepseek, DeepseekV3, deepseek_keymap),
    "kimi_k2": Family(_read_deepseek, DeepseekV3, deepseek_keymap),
}


# --- weights ---


def assemble(
    shapes: Mapping[str, torch.Size], names: Iterable[str], read: Callable[[str], Tensor], keymap: Keymap, title: str
) -> Iterator[tuple[str, Tensor]]:
    """(our name, tensor) for every weight in `shapes`, put together from its pieces one weight at a time.

    Raises CheckpointError if a name is unknown, a piece is missing or left over, or a shape differs.
    """
    mapped = map_names(names, keymap)
    wanted = {name: _pieces(name, shape, mapped) for name, shape in shapes.items()}
    pieces = {piece for parts in wanted.values() for piece in parts}
    if missing := sorted(pieces - mapped.keys()):
        raise CheckpointError(f"{title} lacks {missing[0]} ({len(missing)} weights are missing).", "Fetch all files of the model again.")
    if extra := sorted(mapped.keys() - pieces):
        raise CheckpointError(f"{title} holds {mapped[extra[0]][0]}, which a model of this config does not have.")

    def piece(name: str) -> Tensor:
        theirs, transform = mapped[name]
        return read(theirs) if transform is None else transform(read(theirs))

    for name, shape in shapes.items():
        yield name, _joined([piece(part) for part in wanted[name]], name, shape, title)


def _pieces(name: str, shape: torch.Size, given: Mapping[str, Any]) -> list[str]:
    """What a weight of ours is put together from, in order."""
    if name in given:
        return [name]
    if name.endswith("experts.gate_up"):
        return [f"{name}.{e}.{part}" for e in range(shape[0]) for part in ("gate", "up")]
    if name.endswith("experts.down"):
        return [f"{name}.{e}" for e in range(shape[0])]
    if name.endswith("gate_up.weight"):
        return [name.removesuffix("weight") + part for part in ("gate.weight", "up.weight")]
    return [name]


def _joined(parts: list[Tensor], name: str, shape: torch.Size, title: str) -> Tensor:
    if len({(part.shape, part.dtype) for part in parts}) != 1:
        raise CheckpointError(f"The parts of {name} in {title} have the shapes {sorted({tuple(p.shape) for p in parts})}.")
    tensor = parts[0] if len(parts) == 1 else torch.cat(parts)
    if len(parts) > 1 and tensor.numel() == shape.numel() and tensor.shape[-1] == shape[-1]:
        tensor = tensor.view(shape)                                         # (E 2 F, dim) -> (E, 2 F, dim)
    if tensor.shape != shape:
        raise CheckpointError(f"{name} in {title} has the shape {tuple(tensor.shape)}, the config asks for {tuple(shape)}.")
    return tensor


def load_moe(folder: Path | str, dtype: torch.dtype = torch.float32, progress: Progress | None = None) -> SparseDecoder:
    """The net of a folder with config.json and safetensors, in eval mode on the CPU, its weights cast to `dtype`.

    There are as many prediction modules as the files hold, whatever the config says. Raises CheckpointError with one sentence
    if the model is of another kind, damaged, or larger than the memory that is free.
    """
    folder = Path(folder)
    data = read_json(folder / "config.json")
    config, family = config_from_json(data, folder.name), family_of(data, folder.name)
    index = folder / "model.safetensors.index.json"
    checkpoint = Checkpoint(index if index.is_file() else folder / "model.safetensors")
    names = tell_apart(checkpoint.names, config.n_layers)
    if isinstance(config, DeepseekV3Config):
        config = replace(config, mtp_depth=len({name.split(".")[1] for name in names if name.startswith("mtp.")}))
    with torch.device("meta"):
        model = family.build(config)
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    _check_memory(sum(shape.numel() for shape in shapes.values()) * dtype.itemsize, folder.name)
    state: dict[str, Tensor] = {}
    table = family.keymap(config, data)
    for name, tensor in assemble(shapes, names, lambda spelled: checkpoint.read(names[spelled]), table, folder.name):
        state[name] = tensor.to(torch.float32 if name.endswith("ffn.bias") else dtype)
        if progress is not None:
            progress(len(state), len(shapes))
    model.load_state_dict(state, strict=True, assign=True)
    return model.eval().requires_grad_(False)


def _check_memory(needed: int, title: str) -> None:
    free = free_memory()
    if free is not None and needed > free:
        raise CheckpointError(
            f"{title} needs {needed / 2**30:.1f} GiB of memory, and {free / 2**30:.1f} GiB are free.",
            "Close other programs, or choose a smaller model.",
        )
