"""A small language model that takes any attention of the table, to train each on the same text for the same steps.

Pre-norm blocks as in LLaMA (rotary positions, gated net), with the attention called by name. Gated attention units are
another block: two of them take the place of attention and net (arXiv 2202.10447), about as many weights. Linformer's
projections are learned, as in its paper; LSH shares queries and keys, as in Reformer; Performer's directions differ
from layer to layer and stay.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from models.attention.gau import Gau, GauConfig
from models.attention.signature import Attended, AttentionError
from models.attention.table import Value, attend, kind
from models.attention.tasks import IGNORE, Batch, Task
from models.fitting import Average, FitConfig, Loss, fit
from models.nn.norm import RmsNorm
from models.nn.rope import RotationTable, rotate
from models.steps import TrainStep

EMBEDDING_STD = 0.2  # larger than in large models: a few hundred steps must do
SHARED_DIM = 64  # s of gated attention units; 128 in the paper, at 8 times our width


@dataclass(frozen=True)
class SmallLmConfig:
    """Sizes of the model; `attention` is a name of the table, `knobs` its settings."""

    vocab_size: int
    dim: int
    n_layers: int
    n_heads: int
    ffn_dim: int
    max_len: int
    attention: str
    knobs: Mapping[str, Value] = field(default_factory=dict)
    norm_eps: float = 1e-5
    rope_theta: float = 10_000.0

    def __post_init__(self) -> None:
        if self.dim % (2 * self.n_heads):
            raise ValueError(f"width {self.dim} does not split into {self.n_heads} heads of even width")
        if kind(self.attention).causal == "no":
            raise AttentionError(f"{kind(self.attention).title} cannot be causal, and a language model must be.", "Choose another.")
        kind(self.attention).settings(self.knobs)

    @property
    def settings(self) -> dict[str, Value]:
        """All knobs of the attention in a language model."""
        shared = {"shared": True} if self.attention == "lsh" else {}
        return kind(self.attention).settings({**shared, **self.knobs})


class Block(nn.Module):
    """x += W_o attention(RMS(x)), x += W_d (SiLU(W_g RMS(x)) * W_u RMS(x))."""

    def __init__(self, config: SmallLmConfig, layer: int) -> None:
        super().__init__()
        c, entry = config, kind(config.attention)
        self.n_heads, self.attention = c.n_heads, c.attention
        self.knobs = c.settings
        if c.attention == "performer":
            self.knobs["seed"] += layer  # other directions in every layer
        self.attention_norm = RmsNorm(c.dim, c.norm_eps)
        self.qkv = nn.Linear(c.dim, 3 * c.dim, bias=False)
        self.out = nn.Linear(c.dim, c.dim, bias=False)
        self.learned = nn.ParameterDict(entry.learned(self.knobs) if entry.learned else {})
        self.ffn_norm = RmsNorm(c.dim, c.norm_eps)
        self.gate_up = nn.Linear(c.dim, 2 * c.ffn_dim, bias=False)
        self.down = nn.Linear(c.ffn_dim, c.dim, bias=False)

    def forward(self, x: Tensor, turn: Tensor, maps: list[Attended] | None = None) -> Tensor:
        """x (B, T, dim); `turn` (T, 1, D/2) rotates positions; `maps` collects what each layer attended to."""
        H = self.n_heads
        qkv = rearrange(self.qkv(self.attention_norm(x)), "b t (n d) -> b t n d", n=3 * H)
        turned = rotate(qkv[:, :, : 2 * H].clone(), turn)                   # (B, T, 2 H, D), in place
        q, k = rearrange(turned, "b t (n h) d -> n b h t d", n=2)           # 2 x (B, H, T, D)
        v = rearrange(qkv[:, :, 2 * H :], "b t h d -> b h t d")
        with torch.autocast(x.device.type, enabled=False):  # sums over long texts need fp32, whatever the products are in
            found = attend(self.attention, q.float(), k.float(), v.float(), want_map=maps is not None,
                           knobs=self.knobs, tensors=dict(self.learned.items()))  # fmt: skip
        if maps is not None:
            maps.append(found)
        x = x + self.out(rearrange(found.out, "b h t d -> b t (h d)"))      # (B, T, dim)
        gate, up = self.gate_up(self.ffn_norm(x)).chunk(2, dim=-1)          # 2 x (B, T, ffn_dim)
        return x + self.down(F.silu(gate) * up)                             # (B, T, dim)


class GauBlock(nn.Module):
    """Two gated attention units in the place of an attention and a feed-forward layer."""

    def __init__(self, config: SmallLmConfig, layer: int) -> None:
        super().__init__()
        c = config
        sizes = GauConfig(
            dim=c.dim, expansion_dim=2 * c.dim, shared_dim=SHARED_DIM, max_len=c.max_len, chunk=c.settings.get("chunk", 0),
            scaling=c.settings["scaling"], norm_eps=c.norm_eps, rope_theta=c.rope_theta,
        )  # fmt: skip
        self.units = nn.ModuleList([Gau(sizes), Gau(sizes)])

    def forward(self, x: Tensor, turn: Tensor, maps: list[Attended] | None = None) -> Tensor:
        """x (B, T, dim) to (B, T, dim); units rotate their own way and need no `turn`."""
        for unit in self.units:
            found = unit.attend(unit.norm(x), want_map=maps is not None)
            if maps is not None:
                maps.append(found)
            x = x + found.out                                               # (B, T, dim)
        return x


class SmallLm(nn.Module):
    """Embedding, blocks, norm, and the embedding again as output matrix."""

    def __init__(self, config: SmallLmConfig) -> None:
        super().__init__()
        self.config = config
        self.tokens = nn.Embedding(config.vocab_size, config.dim)
        nn.init.normal_(self.tokens.weight, std=EMBEDDING_STD)
        block = GauBlock if config.attention in ("gau", "gau_chunked") else Block
        self.blocks = nn.ModuleList(block(config, layer) for layer in range(config.n_layers))
        self.norm_out = RmsNorm(config.dim, config.norm_eps)
        self._rotations = RotationTable(config.dim // config.n_heads, config.rope_theta, None)

    def forward(self, ids: Tensor, maps: list[Attended] | None = None) -> Tensor:
        """Tokens (B, T) to logits (B, T, V) in fp32; `maps` collects the layers' attention, with weights."""
        if ids.shape[1] > self.config.max_len:
            raise AttentionError(f"The text has {ids.shape[1]} tokens, the model reads {self.config.max_len}.", "Shorten the text.")
        x = self.tokens(ids)                                                # (B, T, dim)
        turn = self._rotations.rows(0, ids.shape[1], ids.device)            # (T, 1, D/2)
        for block in self.blocks:
            x = block(x, turn, maps)                                        # (B, T, dim)
        return F.linear(self.norm_out(x), self.tokens.weight).float()       # (B, T, V)


def build(config: SmallLmConfig, seed: int = 0) -> SmallLm:
    """A fresh model whose weights depend on the seed only; torch's own random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SmallLm(config)


def lm_loss(model: SmallLm, ids: Tensor, targets: Tensor) -> Loss:
    """Cross-entropy in nats over the tokens that count, and the share of them that is guessed right."""
    logits = model(ids)                                                     # (B, T, V)
    value = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORE)
    counts = targets != IGNORE
    right = (logits.argmax(-1) == targets) & counts
    return value, {"accuracy": float(right.sum() / counts.sum().clamp(min=1))}


def train(
    model: SmallLm, task: Task, batch_size: int, T: int, config: FitConfig, average: Average | None = None
) -> Iterator[TrainStep]:
    """Train on batches of `task`, texts of T tokens; equal seeds give equal batches whatever the model."""
    device = model.tokens.weight.device

    def batches(step: int) -> Batch:
        ids, targets = task.at(step, batch_size, T, config.seed)
        return ids.to(device), targets.to(device)

    return fit(model, lambda batch, generator: lm_loss(model, *batch), batches, config, average)


def side_by_side(
    models: Mapping[str, SmallLm], task: Task, batch_size: int, T: int, config: FitConfig
) -> Iterator[tuple[str, TrainStep]]:
    """Train several models in turns, one step each, on the same batches: whose loss falls how."""
    runs = {name: train(model, task, batch_size, T, config) for name, model in models.items()}
    for _ in range(config.steps):
        for name, run in runs.items():
            yield name, next(run)


@torch.no_grad()
def score(model: SmallLm, task: Task, batch_size: int, T: int, seed: int = 1) -> dict[str, float]:
    """Loss and accuracy on a batch that training with another seed never saw."""
    ids, targets = task.at(0, batch_size, T, seed)
    device = model.tokens.weight.device
    value, metrics = lm_loss(model, ids.to(device), targets.to(device))
    return {"loss": float(value), **metrics}
