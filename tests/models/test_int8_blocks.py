"""Blocks of int8 against the reference implementation of Q8_0, and in files."""

import json
import struct

import gguf
import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from models import int8_blocks
from models.checkpoint import Checkpoint, CheckpointError, load_into, save_sharded
from models.int8_blocks import BLOCK, dequantise, quantise


def test_equal_to_q8_0_of_gguf():
    w = torch.randn(48, 64, generator=torch.Generator().manual_seed(0)) * torch.logspace(-2, 1, 48)[:, None]
    w[3, :32] = 0
    theirs = gguf.quants.dequantize(gguf.quants.quantize(w.numpy(), gguf.GGMLQuantizationType.Q8_0), gguf.GGMLQuantizationType.Q8_0)
    ours = dequantise(*quantise(w)).float()
    # they divide by the scale before it is rounded to fp16, so a value at the border of two steps may differ by one
    step = (w.view(-1, BLOCK).abs().amax(1) / 127).half().float().repeat_interleave(BLOCK).view(w.shape)
    differences = (ours - torch.from_numpy(theirs)).abs()
    assert (differences <= step * 1.001 + w.abs() * 2**-10).all()
    assert (differences > step / 4).float().mean() < 0.01
    assert (ours[3, :32] == 0).all()


@pytest.mark.parametrize("shape", [(128, 128), (31, 7, 3, 3), (5, 33), (1, 1)])
def test_no_error_is_larger_than_half_a_step(shape):
    w = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    q, scale = quantise(w)
    assert q.shape == w.shape and q.dtype == torch.int8 and scale.dtype == torch.float16
    assert len(scale) == -(-w.numel() // BLOCK)
    step = scale.float().repeat_interleave(BLOCK)[: w.numel()].view(shape)
    assert ((dequantise(q, scale).float() - w).abs() <= step * 0.5 + w.abs() * 2**-10).all()


def test_a_block_at_the_bottom_of_fp16_gives_no_nan():
    assert dequantise(*quantise(torch.full((2, 32), 1e-9))).isfinite().all()


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.large = nn.Linear(256, 128)
        self.small = nn.Linear(16, 16)


def test_large_matrices_come_back_from_bytes_and_the_rest_from_fp16(tmp_path):
    torch.manual_seed(0)
    net = Net()
    (file,) = save_sharded(net.state_dict(), tmp_path / "net", storage="int8")
    size = file.stat().st_size - 8 - struct.unpack("<Q", file.read_bytes()[:8])[0]
    assert size == 256 * 128 + 2 * 256 * 128 // BLOCK + 2 * (128 + 16 * 16 + 16)
    model = load_into(Net, tmp_path / "net", dtype=torch.float32)
    assert torch.equal(model.large.weight, dequantise(*quantise(net.large.weight)).float())
    assert 0 < (model.large.weight - net.large.weight).abs().max() < 1 / 16 / 127
    for name in ("large.bias", "small.weight", "small.bias"):
        assert torch.equal(model.get_parameter(name), net.get_parameter(name).half().float())


def test_pairs_may_stand_in_different_shards(tmp_path):
    torch.manual_seed(0)
    net = Net()
    written = save_sharded(net.state_dict(), tmp_path / "net", storage="int8", max_bytes=1024)
    assert len(written) > 2
    index = json.loads(written[-1].read_text())["weight_map"]
    assert index["large.weight"] != index["large.weight" + int8_blocks.SCALE]
    assert sorted(Checkpoint(tmp_path / "net").names) == sorted(net.state_dict())
    load_into(Net, tmp_path / "net")


def test_too_few_scales_are_a_damaged_file(tmp_path):
    tensors = {"w": torch.zeros(64, 64, dtype=torch.int8), "w.int8_scale": torch.zeros(5, dtype=torch.float16)}
    safetensors.torch.save_file(tensors, tmp_path / "net.safetensors")
    with pytest.raises(CheckpointError, match="w in net.safetensors is damaged"):
        Checkpoint(tmp_path / "net").read("w")


def test_a_scale_without_its_tensor_is_a_tensor_of_its_own(tmp_path):
    safetensors.torch.save_file({"w.int8_scale": torch.zeros(5)}, tmp_path / "net.safetensors")
    assert Checkpoint(tmp_path / "net").names == ["w.int8_scale"]
    assert np.all(Checkpoint(tmp_path / "net").read("w.int8_scale").numpy() == 0)
