"""The gated net of a decoder layer, alone and as a bank of experts of which every token visits a few.

    net(x) = W_d (SiLU(W_g x) * W_u x)                        (SwiGLU, Shazeer, arXiv 2002.05202, eq. 6)
    bank(x) = sum over the chosen experts e of w_e net_e(x)   (Shazeer et al., arXiv 1701.06538, eq. 1)

A bank sorts the (token, choice) pairs by expert, so that each expert multiplies all its tokens at once; nothing loops
over tokens, and experts that nobody chose are not touched. Who goes where is decided by the gates in `models/language`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, relu, silu


def by_expert(
    x: Tensor, experts: Tensor, weights: Tensor, kept: Tensor | None, n_experts: int, visit: Callable[[int, Tensor], Tensor]
) -> Tensor:
    """Send x (N, dim) to experts (N, K), add up what comes back with weights (N, K): (N, dim).

    `visit(expert, rows)` is called once for each expert that has rows. Choices that are not `kept` (N, K) go nowhere.
    """
    if len(x) == 1 and kept is None:  # one token: nothing to sort
        y = torch.cat([visit(expert, x) for expert in experts[0].tolist()])  # (K, dim)
        return weights.to(y.dtype) @ y                                      # (1, dim)
    flat = experts.flatten()                                                # (N K,)
    if kept is not None:
        flat = flat.masked_fill(~kept.flatten(), n_experts)                 # behind the last expert
    order = flat.argsort(stable=True)                                       # (N K,)
    counts = torch.bincount(flat, minlength=n_experts + 1)[:n_experts].tolist()
    order = order[: sum(counts)]
    token = order // experts.shape[1]                                       # (M,)
    groups = x.index_select(0, token).split(counts)                         # E x (n_e, dim)
    found = [visit(expert, rows) for expert, rows in enumerate(groups) if len(rows)]
    if not found:
        return torch.zeros_like(x)
    y = torch.cat(found)                                                    # (M, dim)
    y = y * weights.flatten()[order, None].to(y.dtype)
    return y.new_zeros(x.shape).index_add(0, token, y)                      # (N, dim)


class GatedNet(nn.Module):
    """SwiGLU without biases; the two matrices of the input are one."""

    def __init__(self, dim: int, ffn_dim: int) -> None:
        super().__init__()
        self.gate_up = nn.Linear(dim, 2 * ffn_dim, bias=False)
        self.down = nn.Linear(ffn_dim, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up(x).chunk(2, dim=-1)                         # 2 x (..., ffn_dim)
        return self.down(silu(gate) * up)                                   # (..., dim)


class GatedExperts(nn.Module):
    """A bank of SwiGLU nets: `gate_up` (E, 2 ffn_dim, dim), `down` (E, dim, ffn_dim)."""

    def __init__(self, n_experts: int, dim: int, ffn_dim: int) -> None:
        super().__init__()
        self.gate_up = nn.Parameter(_uniform(n_experts, 2 * ffn_dim, dim))
        self.down = nn.Parameter(_uniform(n_experts, dim, ffn_dim))

    def forward(self, x: Tensor, experts: Tensor, weights: Tensor, kept: Tensor | None = None) -> Tensor:
        """x (N, dim), experts and weights (N, K), kept (N, K) or absent: (N, dim)."""
        gate_up, down = self.gate_up.unbind(0), self.down.unbind(0)

        def visit(expert: int, rows: Tensor) -> Tensor:
            gate, up = linear(rows, gate_up[expert]).chunk(2, dim=-1)       # 2 x (n, ffn_dim)
            return linear(silu(gate) * up, down[expert])                    # (n, dim)

        return by_expert(x, experts, weights, kept, len(down), visit)


class ReluExperts(nn.Module):
    """A bank of plain nets W_o relu(W_i x), those of the Switch Transformer: `expand` (E, ffn_dim, dim), `contract`."""

    def __init__(self, n_experts: int, dim: int, ffn_dim: int) -> None:
        super().__init__()
        self.expand = nn.Parameter(_uniform(n_experts, ffn_dim, dim))
        self.contract = nn.Parameter(_uniform(n_experts, dim, ffn_dim))

    def forward(self, x: Tensor, experts: Tensor, weights: Tensor, kept: Tensor | None = None) -> Tensor:
        """x (N, dim), experts and weights (N, K), kept (N, K) or absent: (N, dim)."""
        expand, contract = self.expand.unbind(0), self.contract.unbind(0)

        def visit(expert: int, rows: Tensor) -> Tensor:
            return linear(relu(linear(rows, expand[expert])), contract[expert])  # (n, dim)

        return by_expert(x, experts, weights, kept, len(expand), visit)


def _uniform(*shape: int) -> Tensor:
    """Within 1 / sqrt(inputs), as torch starts a linear layer."""
    bound = shape[-1] ** -0.5
    return torch.empty(shape).uniform_(-bound, bound)
