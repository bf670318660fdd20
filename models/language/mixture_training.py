"""Training a mixture of experts: the next token, and what keeps the experts in use.

    loss-free   L = CE + a_s sum of sequence-wise losses,   and after each batch  b_e += u sign(mean load - load_e)
    aux-loss    L = CE + a sum of load-balance losses + a_z sum of z-losses
    none        L = CE: a few experts soon do all the work

CE is the cross-entropy of the next token, for a DeepSeek-V3 plus `mtp` times that of the token after, guessed by its
prediction module (arXiv 2412.19437, eq. 24 and 25). The bias has been used when it moves and the backward pass does not
see it, so moving it inside the loss is moving it after the update. Read next: `balancing.py`, `models/fitting.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from models.fitting import Average, FitConfig, Loss, fit
from models.language.balancing import load_balance_loss, sequence_balance_loss, update_bias, z_loss
from models.language.deepseek_v3 import DeepseekV3
from models.language.gating import RoutingTrace, Steering
from models.language.mixture_data import Batch, MixtureBank
from models.language.routing import Balance
from models.language.sparse_decoder import SparseDecoder
from models.language.switch import SwitchConfig
from models.steps import TrainStep

START_STD = 0.02
SWITCH_CONFIGS = {
    # Small enough to be trained while one watches: 8 experts, 2 layers.
    "mixture": SwitchConfig(
        dim=128, n_layers=2, n_heads=4, head_dim=32, ffn_dim=256, n_experts=8, top_k=1, capacity_factor=1.25, vocab_size=4096,
        max_len=1024, norm_eps=1e-6, rope_theta=10_000.0, tied=True,
    ),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Balancing:
    """How the experts are kept in use; weights of the losses are per layer, averaged over layers."""

    kind: Literal["loss-free", "aux-loss", "none"]
    bias_step: float = 1e-3
    sequence_weight: float = 1e-4
    aux_weight: float = 1e-2
    z_weight: float = 1e-3
    mtp_weight: float = 0.3
    steer: Steering = Steering()


@torch.no_grad()
def start(model: SparseDecoder, seed: int) -> None:
    """First weights from N(0, 0.02^2), norms 1, biases 0; what ends in the residual stream is smaller by sqrt(2 layers) (GPT-2)."""
    noise = torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        ends = name.endswith(("out.weight", "down.weight", "experts.down", "experts.contract"))
        std = START_STD / (2 * model.config.n_layers) ** 0.5 if ends else START_STD
        weight.copy_(torch.randn(weight.shape, generator=noise) * std if weight.ndim > 1 else torch.ones(weight.shape))
    for bias in model.buffers():
        bias.zero_()


class MixtureLoss:
    """The loss of a batch, and the loads of the newest batch, which `counts` keeps for whoever looks."""

    def __init__(self, model: SparseDecoder, domains: tuple[str, ...], balancing: Callable[[], Balancing]) -> None:
        self.model, self.domains, self.balancing = model, domains, balancing
        self.counts: dict[int, Tensor] = {}  # layer -> (E,) loads
        self.tokens, self.top_k = 0, 0
        if balancing().kind == "loss-free" and not isinstance(model, DeepseekV3):
            raise ValueError(f"{type(model).__name__} has no selection bias to balance with")

    def __call__(self, batch: Batch, noise: torch.Generator) -> Loss:
        """Batch of (B, T + 1) ids; `noise` is not used but for the jitter of the gates."""
        how, ids, trace = self.balancing(), batch.ids.to(self.model.norm_out.weight.device), RoutingTrace(with_graph=True)
        steer = replace(how.steer, generator=noise)
        hidden = self.model(ids[:, :-1], trace=trace, steer=steer)          # (B, T, dim)
        loss, metrics = self._next_token(hidden, ids, batch.domains)
        if isinstance(self.model, DeepseekV3) and self.model.mtp and how.mtp_weight:
            ahead = self.model.look_ahead(hidden[:, :-1], ids[:, 1:-1], trace=trace, steer=steer)  # (B, T - 1, dim)
            second = cross_entropy(self.model.head(ahead).flatten(0, 1), ids[:, 2:].flatten())
            loss, metrics["mtp"] = loss + how.mtp_weight * second, float(second.detach())
        loss = loss + self._balance(trace, how)
        return loss, {**metrics, **self._look(trace)}

    def _next_token(self, hidden: Tensor, ids: Tensor, domains: Tensor) -> tuple[Tensor, dict[str, float]]:
        losses = cross_entropy(self.model.head(hidden).flatten(0, 1), ids[:, 1:].flatten(), reduction="none").view(len(ids), -1)
        rows, named = losses.detach().mean(1).cpu(), {}
        for index, domain in enumerate(self.domains):
            if bool((domains == index).any()):
                named[domain] = float(rows[domains == index].mean())
        return losses.mean(), named

    def _balance(self, trace: RoutingTrace, how: Balancing) -> Tensor | float:
        """The losses on the gates, or the moved biases."""
        found, layers = 0.0, trace.layers.values()
        if how.kind == "loss-free":
            for layer, bias in self.model.biases().items():
                if layer in trace.layers:
                    update_bias(bias, trace.layers[layer].counts().float(), how.bias_step)
            if how.sequence_weight:
                found = how.sequence_weight * sum(sequence_balance_loss(one.affinities, one.experts) for one in layers)
        elif how.kind == "aux-loss":
            for one in layers:
                shares = one.affinities / one.affinities.sum(-1, keepdim=True)  # sigmoids do not sum to 1
                found = found + how.aux_weight * load_balance_loss(shares, one.experts) + how.z_weight * z_loss(one.logits)
        return found / len(trace.layers)

    def _look(self, trace: RoutingTrace) -> dict[str, float]:
        layers = trace.layers.values()
        self.counts = {one.layer: one.counts().cpu() for one in layers}
        first = next(iter(layers))
        self.tokens, self.top_k = first.routed_norm.numel(), first.top_k
        dropped = sum(float(one.dropped.float().mean()) for one in layers) / len(layers)
        max_vio = sum(Balance.of(counts).max_vio for counts in self.counts.values()) / len(layers)
        return {"max_vio": max_vio, "dropped": dropped}


def train_mixture(
    model: nn.Module, bank: MixtureBank, loss: MixtureLoss, batch_size: int, window: int, config: FitConfig, average: Average
) -> Iterator[TrainStep]:
    """Train on windows of the bank; metrics are the loss of every domain, of the prediction module, and the balance."""
    yield from fit(model, loss, lambda step: bank.batch(step, batch_size, window, config.seed), config, average)


@dataclass(frozen=True)
class DomainScore:
    """What held-out text of a domain costs."""

    documents: int
    tokens: int
    bytes: int
    nats: float

    @property
    def perplexity(self) -> float:
        return float(torch.tensor(self.nats / self.tokens, dtype=torch.float64).exp())

    @property
    def bits_per_byte(self) -> float:
        return self.nats / self.bytes / 0.6931471805599453


@torch.no_grad()
def score_rows(model: SparseDecoder, rows: list[list[int]], steer: Steering, pad: int) -> tuple[Tensor, Tensor, RoutingTrace]:
    """Nats of the next tokens (B, T), 0 where there is none; which places count (B, T); and the routing of the tokens read."""
    T = max(len(row) for row in rows) - 1
    device = model.norm_out.weight.device
    ids = torch.tensor([row + [pad] * (T + 1 - len(row)) for row in rows], device=device)  # (B, T + 1)
    ends = torch.tensor([len(row) - 1 for row in rows], device=device)
    counted = torch.arange(T, device=device) < ends[:, None]                # (B, T)
    trace = RoutingTrace()
    logits = model.head(model(ids[:, :-1], trace=trace, steer=steer))       # (B, T, V)
    nats = cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")  # (B, T)
    return nats * counted, counted, trace
