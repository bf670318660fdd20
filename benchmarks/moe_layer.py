"""A layer of experts against transformers': forward, and forward with backward, on equal weights, one process, the same threads.

Mixtral's and DeepSeek-V3's sparse layers at the size of the built-in mixture and at a larger one; theirs with its own choice of kernel
(`--experts grouped_mm`, `eager` or `batched_mm`). Times are taken in turn; CPU time of the process, so that other programs disturb less.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import report
import torch
from torch import Tensor, nn
from transformers import DeepseekV3Config, MixtralConfig
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3MoE
from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock

from models.language import deepseek_v3, moe
from models.language.gating import AS_IS, Groups
from models.language.sparse_decoder import Pass
from models.nn.mla import LatentSizes

SIZES = {"built-in": (192, 64, 24, 4), "large": (1024, 768, 16, 4)}
"""dim, width of an expert, experts, experts a token."""
REST = {"vocab_size": 8, "max_len": 8, "norm_eps": 1e-6, "rope_theta": 1e4, "rope_scaling": None, "tied": True}
NOW = Pass(torch.empty(0), None, True, AS_IS, None, None)


def mixtral(dim: int, ffn_dim: int, experts: int, k: int, kernel: str) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    """Their layer and ours with equal weights."""
    config = MixtralConfig(hidden_size=dim, intermediate_size=ffn_dim, num_local_experts=experts, num_experts_per_tok=k)
    config._experts_implementation = kernel
    theirs = randomised(MixtralSparseMoeBlock(config))
    ours = moe.SparseNet(moe.MixtralConfig(dim=dim, n_layers=1, n_heads=1, n_kv_heads=1, head_dim=8, ffn_dim=ffn_dim, n_experts=experts,
                                           top_k=k, **REST), 0)  # fmt: skip
    share(ours, theirs)
    return theirs, ours


def deepseek(dim: int, ffn_dim: int, experts: int, k: int, kernel: str) -> tuple[nn.Module, nn.Module]:
    """Their layer and ours with equal weights: 4 groups, one shared expert."""
    config = DeepseekV3Config(
        hidden_size=dim, moe_intermediate_size=ffn_dim, n_routed_experts=experts, num_experts_per_tok=k, n_group=4, topk_group=2,
        n_shared_experts=1, routed_scaling_factor=1.0,
    )  # fmt: skip
    config._experts_implementation = kernel
    theirs = randomised(DeepseekV3MoE(config))
    sizes = LatentSizes(n_heads=1, q_rank=None, kv_rank=8, nope_dim=8, rope_dim=8, v_dim=8)
    ours = deepseek_v3.SharedAndRouted(deepseek_v3.DeepseekV3Config(
        dim=dim, n_layers=1, n_dense=0, attention=sizes, ffn_dim=ffn_dim, dense_dim=8, n_experts=experts, n_shared=1, top_k=k,
        groups=Groups(count=4, allowed=2), normalise=True, factor=1.0, mtp_depth=0, sharpen=1.0, **REST,
    ), 0)  # fmt: skip
    share(ours, theirs)
    shared = theirs.shared_experts
    ours.shared.gate_up.weight.data = torch.cat([shared.gate_proj.weight, shared.up_proj.weight])
    ours.shared.down.weight = shared.down_proj.weight
    return theirs, ours


def randomised(module: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for weight in module.parameters():
        weight.data.normal_(0, weight.shape[-1] ** -0.5)
    return module


def share(ours: nn.Module, theirs: nn.Module) -> None:
    ours.gate.weight, ours.experts.gate_up, ours.experts.down = theirs.gate.weight, theirs.experts.gate_up_proj, theirs.experts.down_proj


def seconds(layer: Callable[[Tensor], Tensor], x: Tensor, backward: bool) -> float:
    begun = time.process_time()
    with torch.set_grad_enabled(backward):
        y = layer(x)
        if backward:
            y.square().mean().backward()
    return time.process_time() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--experts", default="grouped_mm", choices=("grouped_mm", "eager", "batched_mm"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    report.heading(f"a layer of experts, ours / transformers' ({options.experts})", options.threads)
    for name, sizes in SIZES.items():
        for build in (mixtral, deepseek):
            theirs, ours = build(*sizes, options.experts)
            for tokens in (1, 32, 512):
                x = torch.randn(1, tokens, sizes[0])
                difference = (ours(x, NOW) - theirs(x)).abs().max().item()
                for backward in (False, True):
                    measure = lambda layer, *now: seconds(lambda x: layer(x, *now), x, backward)  # noqa: B023, E731
                    mine, other = report.alternate(lambda: measure(ours, NOW), lambda: measure(theirs), options.repeat)  # noqa: B023
                    what = f"{build.__name__} {name}, {tokens} tokens, {'forward and backward' if backward else 'forward'}"
                    print(f"{what}: {report.ratio(mine, other)}; ours {1e3 * min(mine):.2f} ms, difference {difference:.0e}", flush=True)


if __name__ == "__main__":
    main()
