"""Position-wise feed-forward nets: the plain two-layer net and GEGLU (Shazeer, arXiv 2002.05202)."""

from torch import Tensor, nn
from torch.nn.functional import gelu


def quick_gelu(x: Tensor) -> Tensor:
    """x sigmoid(1.702 x), the approximation of GELU that OpenAI's CLIP weights were trained with."""
    return x * (1.702 * x).sigmoid()


ACTIVATIONS = {"gelu": gelu, "quick_gelu": quick_gelu}


class Mlp(nn.Module):
    """Linear, activation, Linear."""

    def __init__(self, dim: int, ffn_dim: int, activation: str) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation {activation!r} is not one of {', '.join(ACTIVATIONS)}")
        self.activation = ACTIVATIONS[activation]
        self.expand = nn.Linear(dim, ffn_dim)
        self.contract = nn.Linear(ffn_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.contract(self.activation(self.expand(x)))               # (..., dim)


class Geglu(nn.Module):
    """A gated net: one Linear makes values and gates, and value * GELU(gate) goes on."""

    def __init__(self, dim: int, ffn_dim: int) -> None:
        super().__init__()
        self.expand = nn.Linear(dim, 2 * ffn_dim)
        self.contract = nn.Linear(ffn_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.expand(x).chunk(2, dim=-1)                       # 2 x (..., ffn_dim)
        return self.contract(value * gelu(gate))                            # (..., dim)
