"""RMSNorm against transformers', in fp32 and in fp16, where a naive square would overflow."""

import torch
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from models.nn.norm import RmsNorm
from tests.models.parity import LAYER, assert_close, normal


def pair(dtype: torch.dtype) -> tuple[RmsNorm, LlamaRMSNorm]:
    ours, theirs = RmsNorm(48, 1e-5), LlamaRMSNorm(48, 1e-5)
    weight = normal(48, seed=3)
    ours.weight.data, theirs.weight.data = weight.to(dtype), weight.to(dtype)
    return ours, theirs


def test_equals_transformers():
    ours, theirs = pair(torch.float32)
    for x in (normal(2, 5, 48), normal(1, 1, 48) * 1e-3, normal(1, 48)):
        assert_close(ours(x), theirs(x), LAYER)


def test_large_values_do_not_overflow_in_fp16():
    ours, theirs = pair(torch.float16)
    x = (normal(2, 48) * 1000).half()
    assert ours(x).isfinite().all() and ours(x).dtype == torch.float16
    assert torch.allclose(ours(x).float(), theirs(x).float(), rtol=2e-3, atol=1e-3)
