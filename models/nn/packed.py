"""Convolutions whose weights lie in the order in which oneDNN's kernels read them (CPU inference).

PyTorch keeps weights in an order of its own and hands them to oneDNN, which puts them into blocks at every call. Where a layer has
many channels and few pixels that costs as much as the convolution: a UNet of SD 1.5 at 32 x 32 spends two fifths of a step on it.
`pack_convolutions` does it once. The results are the same to rounding.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

PACK_FROM = 4 * 2**20  # bytes of a weight; below that nothing is gained (`benchmarks/sd15_step.py`)


class PackedConv2d(nn.Conv2d):
    """A convolution that runs on packed weights; under autograd, or on another device, it is an ordinary one again."""

    packed: Tensor | None = None

    @classmethod
    def from_conv(cls, conv: nn.Conv2d) -> PackedConv2d:
        """The same layer; the ordinary copy of its weights is given up."""
        with torch.device("meta"):
            new = cls(
                conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups,
                bias=conv.bias is not None,
            )  # fmt: skip
        new.bias, new.weight, new.training = conv.bias, None, conv.training
        new.packed = torch.ops.mkldnn._reorder_convolution_weight(
            conv.weight.detach(), list(conv.padding), list(conv.stride), list(conv.dilation), conv.groups
        )
        return new

    @property
    def packed_bytes(self) -> int:
        """Memory of the packed weights, which are no parameter."""
        return 0 if self.packed is None else self.packed.numel() * self.packed.element_size()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) -> (B, C_out, H', W')."""
        if self.packed is None:
            return super().forward(x)
        if torch.is_grad_enabled():
            return self._conv_forward(x, self.packed.to_dense(), self.bias)
        return torch.ops.mkldnn._convolution_pointwise(
            x, self.packed, self.bias, list(self.padding), list(self.stride), list(self.dilation), self.groups, "none", [], ""
        )

    def _apply(self, fn, recurse: bool = True):
        """Moving and casting work on ordinary weights."""
        if self.packed is not None:
            self.weight, self.packed = nn.Parameter(self.packed.to_dense(), requires_grad=False), None
        return super()._apply(fn, recurse)

    def _save_to_state_dict(self, destination: dict, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if self.packed is not None:
            destination[prefix + "weight"] = self.packed.to_dense()


def pack_convolutions(model: nn.Module, at_least: int = PACK_FROM) -> nn.Module:
    """Pack the large convolutions of a model that lies on the CPU; where torch has no oneDNN nothing happens."""
    if not (torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_convolution_pointwise")):
        return model
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.Conv2d and _worth_packing(child, at_least):
                setattr(module, name, PackedConv2d.from_conv(child))
    return model


def _worth_packing(conv: nn.Conv2d, at_least: int) -> bool:
    weight = conv.weight
    plain = isinstance(conv.padding, tuple) and conv.padding_mode == "zeros"
    return plain and weight.device.type == "cpu" and weight.dtype == torch.float32 and weight.nbytes >= at_least
