"""Drafters trained for one language model, as files: what is stored, how large it is, and how it comes back.

A file holds only what was trained (and `kept`, the list of tokens that may be guessed); embedding and output matrix are the target's own.
A memory of n-grams is counted instead, and its file holds the tables.
How many heads, layers and tokens there are is read off the shapes in the file; everything else is the target's configuration.
Read next: `models/decoding/medusa.py`, `models/decoding/eagle.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from models.checkpoint import Checkpoint, CheckpointError
from models.decoding.block import BlockConfig
from models.decoding.eagle import EagleConfig, EagleLayer
from models.decoding.medusa import MedusaConfig, MedusaHeads
from models.decoding.mtp import MtpConfig, MtpHeads
from models.decoding.ngram_memory import NgramConfig, NgramMemory, orders_that_fit
from models.decoding.training import spread_layers
from models.language.formats import PackedLinear
from models.language.llama import LLAMA_CONFIGS, Block, Llama, LlamaConfig
from models.nn.norm import RmsNorm

KINDS = ("medusa", "eagle", "mtp", "draft", "ngram")
TARGETS: dict[str, str] = {"smollm2": "smollm2-135m"}
"""Key of a language model in the catalog -> its configuration: drafters are built before the target is loaded."""


class DraftLayers(nn.Module):
    """The layers of a small draft model: some of the target's, trained further. The rest of it is the target's."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.config = config
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.norm_out = RmsNorm(config.dim, config.norm_eps)

    def with_head_of(self, target: Llama) -> Llama:
        """A whole language model around the layers, sharing embedding and output matrix with the target."""
        with torch.device("meta"):
            model = Llama(self.config)
        model.blocks, model.norm_out, model.tokens, model.unembed = self.blocks, self.norm_out, target.tokens, target.unembed
        return model


def block_config(config: LlamaConfig) -> BlockConfig:
    """A drafter's layer is of the target's size."""
    return BlockConfig(
        dim=config.dim, n_heads=config.n_heads, n_kv_heads=config.n_kv_heads, head_dim=config.head_dim, ffn_dim=config.ffn_dim,
        norm_eps=config.norm_eps, rope_theta=config.rope_theta, max_len=config.max_len,
    )  # fmt: skip


@dataclass(frozen=True)
class Sizes:
    """What differs from drafter to drafter: tokens it may guess, heads (Medusa, mtp), rank (Medusa), layers (draft)."""

    kept: int = 8192
    heads: int = 3
    rank: int = 64
    layers: int = 2


def fresh(kind: str, config: LlamaConfig, sizes: Sizes) -> nn.Module:
    """An untrained drafter (an empty memory). Heads of mtp guess the tokens 2, 3, … places on: the target's own head is the first."""
    if kind == "medusa":
        return MedusaHeads(MedusaConfig(config.dim, sizes.heads, sizes.kept, sizes.rank))
    if kind == "eagle":
        return EagleLayer(EagleConfig(block_config(config), sizes.kept))
    if kind == "mtp":
        return MtpHeads(MtpConfig(block_config(config), tuple(range(2, sizes.heads + 2)), sizes.kept))
    if kind == "ngram":
        return NgramMemory(NgramConfig(config.vocab_size, dict.fromkeys(orders_that_fit(config.vocab_size), 0)))
    return DraftLayers(replace(config, n_layers=sizes.layers))


def begin_like(net: DraftLayers, target: Llama) -> None:
    """Start a draft model as some of the target's layers, evenly spread, with its last norm.

    An EAGLE layer does better from random weights: begun as a copy of SmolLM2's last layer it was right half as often after 20 updates.
    """
    chosen = spread_layers(len(target.blocks), len(net.blocks))
    pairs = [*((block, target.blocks[layer]) for block, layer in zip(net.blocks, chosen, strict=True)), (net.norm_out, target.norm_out)]
    for ours, theirs in pairs:
        ours.load_state_dict({name: value.float() for name, value in theirs.state_dict().items()})


# --- from a file ---


def build_from(path: Path, kind: str, config: LlamaConfig) -> nn.Module:
    """A drafter of the sizes that the file at `path` (without suffix) has; its weights are still to be loaded."""
    shapes = header(path)
    if kind == "ngram":
        return _memory_from(shapes, path, config)
    group = {"medusa": "residual", "mtp": "blocks", "draft": "blocks"}.get(kind)
    try:
        count = _count(shapes, group) if group else 1
        kept = 0 if kind == "draft" else shapes["kept"][0]
        rank = shapes["low_in.0.weight"][0] if "low_in.0.weight" in shapes else 0
        return fresh(kind, config, Sizes(kept, count, rank, count))
    except (KeyError, IndexError, ValueError) as error:
        raise CheckpointError(f"{path.name} does not hold a {kind} drafter.", "Get the file again, or train it.") from error


def _memory_from(shapes: dict[str, tuple[int, ...]], path: Path, config: LlamaConfig) -> NgramMemory:
    """A memory with room for the tables `keys_2`, `keys_3`, … of a file."""
    try:
        entries = {int(name.removeprefix("keys_")): shape[0] for name, shape in shapes.items() if name.startswith("keys_")}
        return NgramMemory(NgramConfig(config.vocab_size, entries))
    except (IndexError, ValueError) as error:
        raise CheckpointError(f"{path.name} does not hold a memory of n-grams.", "Get the file again, or count it again.") from error


def header(path: Path) -> dict[str, tuple[int, ...]]:
    """Shapes by name of the tensors at `path` (without suffix); none is read. Raises CheckpointError for damaged files."""
    checkpoint = Checkpoint(path)
    return {name: checkpoint.shape(name) for name in checkpoint.names}


def _count(shapes: dict[str, tuple[int, ...]], group: str) -> int:
    """How many layers stand under `group.0.…`, `group.1.…`"""
    numbers = {int(name.split(".")[1]) for name in shapes if name.startswith(f"{group}.")}
    if numbers != set(range(len(numbers))) or not numbers:
        raise ValueError(f"{group} is not numbered from 0 on")
    return len(numbers)


def build(model: str, kind: str, path: Path) -> nn.Module:
    """What the catalog calls for the key `model/kind`; of the usual sizes if there is no file."""
    config = LLAMA_CONFIGS[TARGETS[model]]
    there = any(path.with_name(path.name + suffix).exists() for suffix in (".safetensors", ".safetensors.index.json"))
    return build_from(path, kind, config) if there else fresh(kind, config, Sizes())


# --- running ---


def packed(net: nn.Module) -> nn.Module:
    """Replace linear layers by packed fp16 ones, as the target has them; the files are fp16, so nothing is lost. In place."""
    for module in list(net.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear) and child.bias is None:
                setattr(module, name, PackedLinear(child.weight))
    return net
