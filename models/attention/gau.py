"""The gated attention unit and its mixed-chunk form (FLASH, Hua et al., arXiv 2202.10447): attention and MLP in one.

    U = SiLU(x W_u),  V = SiLU(x W_v)   (e = 2 d wide),     Z = SiLU(x W_z)   (s wide, one head)
    Q = g_q Z + b_q,  K = g_k Z + b_k,  A = relu(Q K^T / n + bias)²,  out = x + (U * (A V)) W_o

The gate U makes one weak head enough; two such units take the place of an attention and an MLP layer. Scores are squared
ReLUs, so maps are sparse and rows do not sum to 1. The paper's pseudo-code divides by n inside the square; "common" is
relu(Q K^T / sqrt(s))² / n. n is a constant (the training length): a divisor that grew with the text would change the
past. In the mixed form the square is confined to chunks of c, and a linear attention of its own two affine copies of Z
carries what lies before, divided by the number of earlier tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import silu

from models.attention.cost import Cost, Sizes, cost_of
from models.attention.signature import Attended, AttentionError, check, pad_tokens, past, pieces
from models.nn.norm import RmsNorm
from models.nn.rope import RotationTable, rotate

SQUARED = "squared ReLU: rows do not sum to 1"
MIXED = "squared ReLU inside chunks, signed products outside: rows do not sum to 1"
SCALINGS = ("common", "paper")
GATES = ("open", "value")
AFFINE_STD = 0.02  # of the gains of the affine copies at the start (the paper's)


def gau(
    q: Tensor, k: Tensor, v: Tensor, *, causal: bool = True, want_map: bool = False,
    scaling: str = "common", gate: str | Tensor = "open", n: int | None = None, bias: Tensor | None = None,
) -> Attended:  # fmt: skip
    """gate * (A v) with A = relu(q k^T ...)². `n` divides (the number of keys if absent), `bias` (T, S) is added to scores.

    A model's own gate is a tensor like v. For the q, k, v of a model without gates, "value" lets SiLU(v) of the token
    itself stand in, "open" leaves the gate away.
    """
    check(q, k, v)
    weights = squared_scores(q, k, scaling, n or k.shape[2], bias)          # (B, H, T, S)
    if causal:
        weights = weights * past(*weights.shape[-2:], q.device)             # after the square, or the zeros would not hold
    out = _gate(gate, q, v) * (weights @ v)
    return Attended(out=out, weights=weights if want_map else None, normalisation=SQUARED, cost=gau_cost(Sizes.of(q, k, v)))


def gau_cost(sizes: Sizes, causal: bool = True, scaling: str = "common", gate: str = "open") -> Cost:
    """As softmax attention; what GAU saves are heads: one of width s where a transformer has dim in all."""
    return cost_of(sizes, flops="2 B H T S (d + dv)", held="2 B H T S")


def gau_chunked(
    q: Tensor, k: Tensor, v: Tensor, *, causal: bool = True, want_map: bool = False,
    chunk: int = 64, scaling: str = "common", gate: str | Tensor = "open",
    q_lin: Tensor | None = None, k_lin: Tensor | None = None, bias: Tensor | None = None,
) -> Attended:  # fmt: skip
    """gate * (quad + lin), see `parts`; without `q_lin` and `k_lin` the linear part uses q / d^(1/4) and k / d^(1/4)."""
    check(q, k, v, own_tokens=True)
    root = q.shape[-1] ** -0.25
    q_lin, k_lin = (q * root if q_lin is None else q_lin), (k * root if k_lin is None else k_lin)
    quad, lin = parts(q, k, q_lin, k_lin, v, chunk=chunk, causal=causal, scaling=scaling, bias=bias)
    weights = None
    if want_map:
        T, device = q.shape[2], q.device
        i = torch.arange(T, device=device) // chunk
        inside = i == i[:, None]                                            # (T, T)
        whole = bias if bias is None else bias.repeat(pieces(T, chunk), pieces(T, chunk))[:T, :T]
        square = squared_scores(q, k, scaling, chunk, whole) * (inside & past(T, T, device) if causal else inside)
        earlier = (i < i[:, None]) / (i[:, None] * chunk).clamp(min=1).to(q) if causal else 1 / T
        weights = square + q_lin @ k_lin.transpose(-1, -2) * earlier        # (B, H, T, T)
    return Attended(
        out=_gate(gate, q, v) * (quad + lin), weights=weights, normalisation=MIXED,
        cost=gau_chunked_cost(Sizes.of(q, k, v), causal, chunk=chunk),
    )  # fmt: skip


def gau_chunked_cost(sizes: Sizes, causal: bool = True, chunk: int = 64, scaling: str = "common", gate: str = "open") -> Cost:
    """Squares of c x c, and a d x dv state that each of n chunks reads and adds to."""
    return cost_of(sizes, flops="2 B H n c (c (d + dv) + 2 d dv)", held="B H n (2 c² + 2 d dv)", c=chunk, n=pieces(sizes.T, chunk))


def squared_scores(q: Tensor, k: Tensor, scaling: str, n: int, bias: Tensor | None = None) -> Tensor:
    """relu(q k^T / n + bias)² ("paper") or relu(q k^T / sqrt(s) + bias)² / n ("common"), (..., T, S)."""
    if scaling not in SCALINGS:
        raise AttentionError(f"GAU scales its scores in the ways {' and '.join(SCALINGS)}, not {scaling}.")
    scores = q @ k.transpose(-1, -2) / (n if scaling == "paper" else q.shape[-1] ** 0.5)
    scores = scores if bias is None else scores + bias
    return scores.relu().square() / (1 if scaling == "paper" else n)


def parts(
    q: Tensor, k: Tensor, q_lin: Tensor, k_lin: Tensor, v: Tensor, *, chunk: int, causal: bool = True, scaling: str = "common",
    bias: Tensor | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The quadratic part of each chunk and the linear part of the chunks before it (of all without `causal`), (B, H, T, dv).

    `bias` (c, c) is added to the scores inside a chunk. The first chunk has no earlier token: its linear part is 0.
    """
    T, c = q.shape[2], chunk
    q, k, q_lin, k_lin, v = (rearrange(pad_tokens(x, c), "b h (n c) d -> b h n c d", c=c) for x in (q, k, q_lin, k_lin, v))
    weights = squared_scores(q, k, scaling, c, bias)                        # (B, H, n, c, c)
    quad = (weights * past(c, c, q.device) if causal else weights) @ v      # (B, H, n, c, dv)
    states = k_lin.transpose(-1, -2) @ v                                    # (B, H, n, d, dv)
    if causal:
        before = states[:, :, :-1].cumsum(dim=2)                            # taking a chunk off its sum again would leak
        states = torch.cat([torch.zeros_like(states[:, :, :1]), before], dim=2)
        earlier = torch.arange(q.shape[2], device=q.device) * c             # (n,)
        lin = q_lin @ states / earlier.clamp(min=1)[:, None, None]          # (B, H, n, c, dv)
    else:
        lin = q_lin @ states.sum(dim=2, keepdim=True) / T
    return quad.flatten(2, 3)[:, :, :T], lin.flatten(2, 3)[:, :, :T]


def _gate(gate: str | Tensor, q: Tensor, v: Tensor) -> Tensor | float:
    if isinstance(gate, Tensor):
        return gate
    if gate not in GATES:
        raise AttentionError(f"A gate is {' or '.join(GATES)}, not {gate}.")
    if gate == "value" and q.shape[2] != v.shape[2]:
        raise AttentionError("The gate 'value' needs the token's own value.", "Leave the gate open.")
    return 1.0 if gate == "open" else silu(v)


# The layer


@dataclass(frozen=True)
class GauConfig:
    """Sizes of a gated attention unit. `chunk` 0 is the quadratic form, else FLASH's mixed one.

    `max_len` is the n that scores are divided by, and how far relative positions have a bias of their own.
    """

    dim: int
    expansion_dim: int
    shared_dim: int
    max_len: int
    chunk: int
    scaling: str
    norm_eps: float
    rope_theta: float

    def __post_init__(self) -> None:
        if self.shared_dim % 2:
            raise ValueError(f"rotary positions need an even width, not {self.shared_dim}")
        if self.scaling not in SCALINGS:
            raise ValueError(f"scaling {self.scaling!r} is not one of {', '.join(SCALINGS)}")


class Gau(nn.Module):
    """x + (U * (A V)) W_o: one residual layer; 3 d e + d s + 4 s weights (8 s in the mixed form) besides norm and bias."""

    def __init__(self, config: GauConfig) -> None:
        super().__init__()
        c = self.config = config
        self.norm = RmsNorm(c.dim, c.norm_eps)
        self.to_u = nn.Linear(c.dim, c.expansion_dim, bias=False)
        self.to_v = nn.Linear(c.dim, c.expansion_dim, bias=False)
        self.to_z = nn.Linear(c.dim, c.shared_dim, bias=False)
        self.out = nn.Linear(c.expansion_dim, c.dim, bias=False)
        copies = 4 if c.chunk else 2
        self.gain = nn.Parameter(torch.randn(copies, c.shared_dim) * AFFINE_STD)
        self.offset = nn.Parameter(torch.zeros(copies, c.shared_dim))
        self.relative_bias = nn.Parameter(torch.zeros(2 * c.max_len - 1))
        self._rotations = RotationTable(c.shared_dim, c.rope_theta, None)

    def forward(self, x: Tensor, causal: bool = True) -> Tensor:
        """x (B, T, dim) to (B, T, dim)."""
        return x + self.attend(self.norm(x), causal).out                    # (B, T, dim)

    def attend(self, x: Tensor, causal: bool = True, want_map: bool = False) -> Attended:
        """The branch of normed x (B, T, dim): `out` (B, T, dim) after W_o, `weights` (B, 1, T, T)."""
        c, T = self.config, x.shape[1]
        u, v = silu(self.to_u(x))[:, None], silu(self.to_v(x))[:, None]     # (B, 1, T, e)
        z = silu(self.to_z(x))[:, :, None]                                  # (B, T, 1, s)
        turn = self._rotations.rows(0, T, x.device)                         # (T, 1, s/2)
        copies = rotate(z * self.gain + self.offset, turn)                  # (B, T, copies, s)
        parts = [copy.float()[:, None] for copy in copies.unbind(2)]        # (B, 1, T, s)
        with torch.autocast(x.device.type, enabled=False):  # sums over long texts need fp32, whatever the products are in
            options = {"causal": causal, "want_map": want_map, "scaling": c.scaling, "gate": u.float()}
            if c.chunk:
                q, k, q_lin, k_lin = parts
                options |= {"chunk": c.chunk, "q_lin": q_lin, "k_lin": k_lin, "bias": self._bias(c.chunk)}
                found = gau_chunked(q, k, v.float(), **options)
            else:
                found = gau(*parts, v.float(), n=c.max_len, bias=self._bias(T), **options)
        out = self.out(found.out[:, 0])                                     # (B, T, dim)
        return Attended(out=out, weights=found.weights, normalisation=found.normalisation, cost=found.cost)

    def _bias(self, T: int) -> Tensor:
        """One learned number per distance, (T, T); beyond max_len the last one goes on."""
        i, far = torch.arange(T, device=self.relative_bias.device), self.config.max_len - 1
        return self.relative_bias[(i[:, None] - i).clamp(-far, far) + far]
