"""RMSNorm (Zhang and Sennrich, arXiv 1910.07467, eq. 4): g x / sqrt(mean(x^2) + eps), without mean or bias."""

import torch
from torch import Tensor, nn


class RmsNorm(nn.Module):
    """Scale every vector to a root mean square of 1, then by a learned gain; the mean is taken in fp32."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        h = x.float()                                                       # fp16 would overflow in the square
        scale = (h.square().mean(dim=-1, keepdim=True) + self.eps).rsqrt_()  # (..., 1)
        return (h * scale).to(x.dtype) * self.weight                        # (..., dim)
