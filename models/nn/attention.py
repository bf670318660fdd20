"""Multi-head scaled dot-product attention (Vaswani et al., 2017, eq. 1): softmax(q k^T / sqrt(head_dim)) v.

One plain module serves self-attention (`context` absent), cross-attention and causal text attention. The fast
path never forms the matrix of weights; `weights` computes it on request, from the same projections, so that a
view can show who looks at whom without changing the result.
"""

from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from models.nn.probe import Note


class Attention(nn.Module):
    """Project to q, k, v; attend in `n_heads` heads; project back to `dim`."""

    def __init__(self, dim: int, n_heads: int, context_dim: int | None = None, qkv_bias: bool = True) -> None:
        super().__init__()
        if dim % n_heads:
            raise ValueError(f"attention width {dim} is not divisible by {n_heads} heads")
        context_dim = dim if context_dim is None else context_dim
        self.n_heads = n_heads
        self.q = nn.Linear(dim, dim, bias=qkv_bias)
        self.k = nn.Linear(context_dim, dim, bias=qkv_bias)
        self.v = nn.Linear(context_dim, dim, bias=qkv_bias)
        self.out = nn.Linear(dim, dim)

    def forward(self, x: Tensor, context: Tensor | None = None, causal: bool = False, note: Note | None = None) -> Tensor:
        """Let x (B, T, dim) look at context (B, S, context_dim), or at itself; `note` takes the queries and keys."""
        prefix = "" if context is None else "cross_"
        context = x if context is None else context
        q = self._split(self.q(x))                                          # (B, H, T, D)
        k = self._split(self.k(context))                                    # (B, H, S, D)
        v = self._split(self.v(context))                                    # (B, H, S, D)
        if note is not None:
            note(prefix + "q", q.transpose(1, 2))
            note(prefix + "k", k.transpose(1, 2))
        h = scaled_dot_product_attention(q, k, v, is_causal=causal)         # (B, H, T, D)
        return self.out(rearrange(h, "b h t d -> b t (h d)"))               # (B, T, dim)

    def weights(self, x: Tensor, context: Tensor | None = None, causal: bool = False) -> Tensor:
        """The attention weights that `forward` applies, (B, H, T, S); every row sums to 1."""
        context = x if context is None else context
        q, k = self._split(self.q(x)), self._split(self.k(context))         # (B, H, T, D), (B, H, S, D)
        scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5              # (B, H, T, S)
        if causal:
            future = scores.new_ones(scores.shape[-2:]).triu(1).bool()      # (T, S)
            scores = scores.masked_fill(future, float("-inf"))
        return scores.float().softmax(dim=-1)                               # (B, H, T, S)

    def _split(self, x: Tensor) -> Tensor:
        return rearrange(x, "b t (h d) -> b h t d", h=self.n_heads)
