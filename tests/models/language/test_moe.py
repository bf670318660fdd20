"""What must hold of mixtures of experts whatever their weights: reductions, caches, capacity, steering, latent attention."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import linear, relu, silu

from models.language.deepseek_v3 import DEEPSEEK_CONFIGS, DeepseekV3, DeepseekV3Config
from models.language.gating import (
    AS_IS,
    Groups,
    RoutingError,
    RoutingTrace,
    Steering,
    capacity,
    choose,
    gate_logits,
    gathered,
    within_capacity,
)
from models.language.moe import Mixtral, MixtralConfig
from models.language.sparse_decoder import WatchedNet
from models.language.switch import SwitchConfig, SwitchDecoder
from models.nn.experts import GatedExperts, GatedNet, ReluExperts
from models.nn.mla import LatentAttention, LatentCache, LatentSizes
from models.nn.probe import Probe
from models.nn.rope import RotationTable
from tests.models.parity import LAYER, WHOLE, assert_close, normal

MIXTRAL = MixtralConfig(
    dim=32, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=8, ffn_dim=24, n_experts=6, top_k=2, vocab_size=61, max_len=400, norm_eps=1e-6,
    rope_theta=1e4, rope_scaling=None, tied=True,
)  # fmt: skip
DEEPSEEK = DeepseekV3Config(
    dim=32, n_layers=3, n_dense=1, attention=LatentSizes(n_heads=4, q_rank=None, kv_rank=16, nope_dim=8, rope_dim=4, v_dim=6),
    ffn_dim=12, dense_dim=40, n_experts=8, n_shared=1, top_k=3, groups=Groups(count=4, allowed=2), normalise=True, factor=1.5, mtp_depth=1,
    vocab_size=61, max_len=400, norm_eps=1e-6, rope_theta=1e4, rope_scaling=None, sharpen=1.0, tied=True,
)  # fmt: skip
SWITCH = SwitchConfig(
    dim=32, n_layers=2, n_heads=4, head_dim=8, ffn_dim=24, n_experts=4, top_k=1, capacity_factor=None, vocab_size=61, max_len=400,
    norm_eps=1e-6, rope_theta=1e4, tied=True,
)  # fmt: skip


def awake(model: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Weights at which gates differ from token to token."""
    noise = torch.Generator().manual_seed(seed)
    for name, tensor in model.state_dict().items():
        tensor.copy_(torch.randn(tensor.shape, generator=noise) * 0.3 + (1.0 if "norm" in name else 0.0))
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def nets() -> dict:
    return {"mixtral": awake(Mixtral(MIXTRAL)), "deepseek": awake(DeepseekV3(DEEPSEEK)), "switch": awake(SwitchDecoder(SWITCH))}


def ids(*shape: int, seed: int = 5) -> torch.Tensor:
    return torch.randint(0, 61, shape, generator=torch.Generator().manual_seed(seed))


# --- the bank of experts ---


def test_a_bank_equals_the_sum_over_all_experts_token_by_token():
    bank, x = awake(GatedExperts(5, 6, 7)), normal(9, 6)
    experts = torch.stack([torch.randperm(5, generator=torch.Generator().manual_seed(n))[:3] for n in range(9)])
    weights = normal(9, 3, seed=4)
    wanted = torch.zeros(9, 6)
    for n in range(9):
        for e, w in zip(experts[n], weights[n]):
            gate, up = linear(x[n], bank.gate_up[e]).chunk(2)
            wanted[n] += w * linear(silu(gate) * up, bank.down[e])
    assert_close(bank(x, experts, weights), wanted, LAYER)


def test_choices_that_are_not_kept_reach_no_expert():
    bank, x = awake(ReluExperts(3, 4, 5)), normal(6, 4)
    experts, weights = torch.tensor([[0, 1]] * 6), torch.ones(6, 2)
    kept = torch.tensor([[True, False]] * 5 + [[False, False]])
    first = linear(relu(linear(x, bank.expand[0])), bank.contract[0])
    got = bank(x, experts, weights, kept)
    assert_close(got[:5], first[:5], LAYER)
    assert torch.equal(got[5], torch.zeros(4))
    assert torch.equal(bank(x, experts, weights, torch.zeros_like(kept)), torch.zeros(6, 4))


def test_gradients_reach_visited_experts_only():
    bank, x = GatedExperts(4, 6, 5), normal(7, 6).requires_grad_()
    experts, weights = torch.tensor([[0, 2]] * 7), normal(7, 2).requires_grad_()
    bank(x, experts, weights).square().sum().backward()
    touched = bank.gate_up.grad.flatten(1).abs().sum(1) > 0
    assert touched.tolist() == [True, False, True, False]
    assert x.grad.abs().sum() > 0 and (weights.grad != 0).all()


def test_one_expert_is_the_plain_net():
    """A Mixtral with one expert is a decoder with that expert's net; k = E is the softmax-weighted sum of all."""
    model = awake(Mixtral(replace(MIXTRAL, n_experts=1, top_k=1)))
    ffn, plain, x = model.blocks[0].ffn, GatedNet(32, 24), normal(2, 5, 32)
    plain.gate_up.weight.data, plain.down.weight.data = ffn.experts.gate_up[0], ffn.experts.down[0]
    now = model._begin(5, 0, None, None, AS_IS, None, None)
    assert_close(ffn(x, now), plain(x), LAYER)
    dense = awake(Mixtral(replace(MIXTRAL, top_k=6))).blocks[1].ffn
    share = linear(x, dense.gate.weight).softmax(-1)
    nets = []
    for e in range(6):
        gate, up = linear(x, dense.experts.gate_up[e]).chunk(2, -1)
        nets.append(linear(silu(gate) * up, dense.experts.down[e]))
    assert_close(dense(x, now), (torch.stack(nets, -1) * share[..., None, :]).sum(-1), WHOLE)


# --- decoders ---


@pytest.mark.parametrize("name", ["mixtral", "deepseek", "switch"])
def test_a_long_text_through_a_growing_cache_equals_one_pass(nets, name):
    model, text = nets[name], ids(1, 330)
    full, cache = model(text), model.new_cache(350)
    got = torch.cat([model(part, cache) for part in text.split([200, 1, 1, 128], dim=1)], 1)
    assert_close(got, full, WHOLE)
    with pytest.raises(ValueError, match="context"):
        model(ids(1, 40), cache)


@pytest.mark.parametrize("name", ["mixtral", "deepseek"])
def test_a_tree_of_drafts_is_checked_and_its_path_kept(nets, name):
    model = nets[name]
    prefix, nodes, parents = ids(12), ids(5, seed=8), [-1, 0, 0, 1, -1]
    cache, depth, seen = model.new_cache(), [], torch.zeros(5, 17, dtype=torch.bool)
    model.step(prefix, cache)
    for node, parent in enumerate(parents):
        depth.append(0 if parent < 0 else depth[parent] + 1)
        seen[node] = seen[parent] if parent >= 0 else torch.arange(17) < 12
        seen[node, 12 + node] = True
    logits, _ = model.step(nodes, cache, positions=12 + torch.tensor(depth), mask=seen)
    path = torch.cat([prefix, nodes[[0, 1, 3]]])
    assert_close(logits[3], model.head(model(path[None]))[0, -1], WHOLE)
    branch = cache.copy()
    cache.keep(12, [0, 1, 3])
    after, _ = model.step(ids(2, seed=9), cache, last_only=True)
    whole = torch.cat([path, ids(2, seed=9)])
    assert after.shape == (1, 61)
    assert_close(after[0], model.head(model(whole[None]))[0, -1], WHOLE)
    assert branch.length == 17 and cache.length == 17
    branch.crop(12)
    again, _ = model.step(path[12:], branch)
    assert_close(again, model.head(model(path[None]))[0, 12:], WHOLE)


def test_trace_probe_and_watching_change_nothing(nets):
    for model in nets.values():
        plain = model(ids(2, 9))
        trace, probe = RoutingTrace(), Probe("resid", "q", "k")
        assert torch.equal(plain, model(ids(2, 9), trace=trace, probe=probe))
        assert set(trace.layers) == model.gated_layers and set(probe.q) == set(range(model.config.n_layers))
        seen = []
        net = WatchedNet(model, seen.append)
        logits, _ = net.step(ids(9), net.new_cache(20))
        assert_close(logits, model.head(model(ids(9)[None]))[0], LAYER)
        assert len(seen) == 1 and seen[0].layers.keys() == trace.layers.keys()


def test_a_trace_of_cached_steps_equals_that_of_the_whole_text(nets):
    model, text = nets["deepseek"], ids(1, 14)
    whole, cache, parts = RoutingTrace(), model.new_cache(), []
    model(text, trace=whole)
    for token in text.split(1, dim=1):
        parts.append(RoutingTrace())
        model(token, cache, trace=parts[-1])
    for layer, routing in whole.layers.items():
        assert torch.equal(torch.cat([part.layers[layer].experts for part in parts], 1), routing.experts)
        assert_close(torch.cat([part.layers[layer].weights for part in parts], 1), routing.weights, LAYER)


# --- latent attention ---


@pytest.mark.parametrize("q_rank", [None, 10])
@pytest.mark.parametrize("v_dim", [6, 12, 20])
def test_absorbed_attention_equals_the_expanded_one(q_rank, v_dim):
    sizes = LatentSizes(n_heads=4, q_rank=q_rank, kv_rank=16, nope_dim=8, rope_dim=4, v_dim=v_dim)
    attention = awake(LatentAttention(24, sizes, sharpen=1.3))
    x, turn = normal(2, 9, 24), RotationTable(4, 1e4, None).rows(0, 9, torch.device("cpu"))
    expanded = attention(x, turn, None, True, absorb=False)
    assert_close(attention(x, turn, None, True, absorb=True), expanded, LAYER)
    q, latents = attention.queries(x, turn), attention.latents(x, turn)
    k, v = attention.keys_and_values(latents)
    scores = torch.einsum("bthd,bshd->bhts", q, k) * 1.3 / math.sqrt(12)
    scores = scores.masked_fill(torch.ones(9, 9).triu(1).bool(), -math.inf)
    by_hand = attention.out(torch.einsum("bhts,bshv->bthv", scores.softmax(-1), v).flatten(2))
    assert_close(expanded, by_hand, LAYER)


def test_the_cache_of_latents_is_as_small_as_the_paper_says():
    sizes = LatentSizes(n_heads=128, q_rank=1536, kv_rank=512, nope_dim=128, rope_dim=64, v_dim=128)
    assert (sizes.cached, sizes.cached_by_plain_attention) == (576, 32_768)
    cache = LatentCache(61, sizes.cached, 256)
    assert cache.bytes == 61 * 256 * 576 * 4


def test_absorbing_is_chosen_for_few_tokens_after_a_long_text():
    sizes = LatentSizes(n_heads=128, q_rank=1536, kv_rank=512, nope_dim=128, rope_dim=64, v_dim=128)
    attention = LatentAttention(8, replace(sizes, n_heads=2, q_rank=None))
    assert attention.absorbing_is_cheaper(1, 4000) and not attention.absorbing_is_cheaper(4000, 4000)


# --- gates ---


def test_the_bias_chooses_and_never_weighs(nets):
    """Weights of chosen experts are their affinities over the sum of the chosen, times the factor, whatever the bias."""
    trace = RoutingTrace()
    nets["deepseek"](ids(2, 11), trace=trace)
    for routing in trace.layers.values():
        chosen = routing.affinities.gather(-1, routing.experts)
        assert_close(routing.weights, 1.5 * chosen / chosen.sum(-1, keepdim=True), LAYER)
        assert_close(routing.affinities, routing.logits.sigmoid(), LAYER)
        assert routing.bias.abs().max() > 0.1


def test_group_limits_by_hand():
    """4 groups of 2: sums of the two best are 1.7, 1.1, 1.6, 1.0, so groups 0 and 2 compete; their best three win."""
    scores = torch.tensor([[[0.9, 0.8, 1.0, 0.1, 0.85, 0.75, 0.5, 0.5]]])
    choice = choose(scores, 3, groups=Groups(count=4, allowed=2))
    assert choice.experts.tolist() == [[[0, 4, 1]]]
    assert choice.scores.isinf().tolist() == [[[False, False, True, True, False, False, True, True]]]
    assert choose(scores, 3).experts.tolist() == [[[2, 0, 4]]]


def test_gates_stay_in_fp32_under_autocast():
    x, weight = normal(1, 3, 8), normal(4, 8, seed=2)
    with torch.autocast("cpu", torch.bfloat16):
        logits = gate_logits(x.bfloat16(), weight)
    assert logits.dtype == torch.float32
    assert torch.equal(logits, linear(x.bfloat16().float(), weight))


# --- capacity ---


def test_capacity_is_counted_per_sequence_first_choices_first():
    experts = torch.tensor([[[0, 1], [0, 1], [1, 0], [0, 2]], [[2, 0], [2, 0], [2, 0], [2, 0]]])  # (2, 4, 2)
    kept = within_capacity(experts, 3, 2)
    # sequence 0: expert 0 takes tokens 0 and 1 and refuses 3; expert 1 takes 2 first, then the second choice of 0
    assert kept[0].tolist() == [[True, True], [True, False], [True, False], [False, True]]
    assert kept[1].tolist() == [[True, True], [True, True], [False, False], [False, False]]
    assert capacity(1.25, 12, 1, 4) == 4 and capacity(1.0, 12, 2, 5) == 5


def test_overflow_is_dropped_counted_and_passed_by(nets):
    """dropped = sum over experts of max(0, choices - places); a dropped token gets nothing from the layer."""
    model, trace, text = nets["switch"], RoutingTrace(), ids(3, 20)
    model(text, trace=trace, steer=Steering(capacity_factor=0.5))
    places = math.ceil(0.5 * 20 / 4)
    for routing in trace.layers.values():
        wanted = sum(int((routing.experts[b] == e).sum().sub(places).clamp_min(0)) for b in range(3) for e in range(4))
        assert int(routing.dropped.sum()) == wanted > 0
        assert torch.equal(routing.routed_norm == 0, routing.dropped.all(-1))
        assert (routing.weights[routing.dropped] == 0).all() and (routing.weights[~routing.dropped] > 0).all()
    roomy, unlimited = (model(text, steer=steer) for steer in (Steering(capacity_factor=4.0), AS_IS))
    assert torch.equal(roomy, unlimited)


def test_switch_weights_are_not_renormalised_so_the_gate_learns(nets):
    model = awake(SwitchDecoder(SWITCH)).requires_grad_(True)
    model.head(model(ids(1, 8))).square().sum().backward()
    assert all(block.ffn.gate.weight.grad.abs().max() > 1e-6 for block in model.blocks)


# --- steering ---


def test_experts_are_switched_off_forced_and_counted_anew(nets):
    for model in (nets["mixtral"], nets["deepseek"]):
        k = model.config.top_k
        off = frozenset((1, e) for e in (0, 2))
        trace = RoutingTrace()
        model(ids(2, 15), trace=trace, steer=Steering(off=off, force=frozenset({(1, 5)})))
        experts = trace.layers[1].experts
        assert not torch.isin(experts[trace.layers[1].live], torch.tensor([0, 2])).any()
        assert (experts == 5).any(-1).all()
        trace = RoutingTrace()
        model(ids(2, 15), trace=trace, steer=Steering(top_k=1))
        assert all(routing.top_k == 1 and k > 1 for routing in trace.layers.values())
        assert not torch.equal(model(ids(2, 15), steer=Steering(top_k=1)), model(ids(2, 15)))


@pytest.mark.parametrize("name", ["deepseek", "mixtral", "switch"])
def test_passes_gathered_equal_one_pass_over_the_text(nets, name):
    """Pieces of a text read with a cache, put together layer by layer; of the last pass only the first tokens stay."""
    net, text = nets[name], ids(12)
    whole, cache, traces = RoutingTrace(), net.new_cache(), []
    net(text[None], trace=whole)
    for piece in (text[:5], text[5:6], text[6:7], text[7:]):
        traces.append(RoutingTrace())
        net.step(piece, cache, trace=traces[-1])
    found = gathered(traces, [(0, 5), (0, 1), (0, 1), (0, 3)])
    for row, layer in enumerate(sorted(whole.layers)):
        own = whole.layers[layer]
        assert (found.experts[row] == own.experts[0, :10]).all() and (found.live[row] == own.live[0, :10]).all()
        for field in ("weights", "logits", "affinities", "scores", "routed_norm", "shared_norm"):
            mine, its = getattr(found, field), getattr(own, field)
            assert mine is its is None or torch.allclose(mine[row], its[0, :10], atol=1e-5)
        assert found.bias is own.bias is None or (found.bias[row] == own.bias).all()


def test_a_layer_without_experts_passes_by(nets):
    model, trace = nets["mixtral"], RoutingTrace()
    model(ids(1, 6), trace=trace, steer=Steering(off=frozenset((1, e) for e in range(6))))
    routing = trace.layers[1]
    assert not routing.live.any() and not routing.dropped.any() and int(routing.counts().sum()) == 0
    assert (routing.routed_norm == 0).all() and (trace.layers[0].routed_norm > 0).all()


def test_groups_fill_up_from_live_experts(nets):
    """All but one expert of every group off: the choice takes what is left in the admitted groups and marks the rest."""
    model, trace = nets["deepseek"], RoutingTrace()
    model(ids(1, 6), trace=trace, steer=Steering(off=frozenset((1, e) for e in range(8) if e % 2)))
    routing = trace.layers[1]
    assert (routing.live.sum(-1) == 2).all()
    assert (routing.experts[routing.live] % 2 == 0).all()
    assert_close(routing.weights.sum(-1), torch.full((1, 6), 1.5), LAYER)


def test_a_larger_k_than_the_groups_hold_stays_within_them(nets):
    """2 of 4 groups of 2 hold 4 experts: a k of 6 leaves two choices empty, and the weights still add up."""
    trace = RoutingTrace()
    nets["deepseek"](ids(1, 7), trace=trace, steer=Steering(top_k=6))
    for routing in trace.layers.values():
        assert (routing.live.sum(-1) == 4).all() and (routing.weights[~routing.live] == 0).all()
        assert_close(routing.weights.sum(-1), torch.full((1, 7), 1.5), LAYER)


def test_without_its_bias_a_gate_chooses_by_affinity(nets):
    model, trace = nets["deepseek"], RoutingTrace()
    model(ids(1, 9), trace=trace, steer=Steering(use_bias=False))
    for routing in trace.layers.values():
        assert routing.bias is None
        assert torch.equal(routing.experts, choose(routing.affinities, 3, groups=DEEPSEEK.groups).experts)


def test_jitter_is_a_function_of_its_generator(nets):
    model, text = nets["switch"], ids(1, 12)
    noisy = [model(text, steer=Steering(jitter=0.3, generator=torch.Generator().manual_seed(seed))) for seed in (1, 1, 2)]
    assert torch.equal(noisy[0], noisy[1]) and not torch.equal(noisy[0], noisy[2])


@pytest.mark.parametrize(("steer", "words"), [
    (Steering(off=frozenset({(0, 1)})), "Layer 0 has no experts"),
    (Steering(force=frozenset({(9, 1)})), "Layer 9 has no experts"),
    (Steering(off=frozenset({(1, 8)})), "no expert 8"),
    (Steering(off=frozenset({(1, 2)}), force=frozenset({(1, 2)})), "off and forced"),
    (Steering(top_k=9), "9 of 8"),
    (Steering(top_k=0), "0 of 8"),
])  # fmt: skip
def test_wishes_that_cannot_be_fulfilled_are_told(nets, steer, words):
    with pytest.raises(RoutingError, match=words):
        nets["deepseek"](ids(1, 3), steer=steer)


# --- configs ---


@pytest.mark.parametrize(("changes", "words"), [
    ({"top_k": 5}, "hold no 5 of 8"), ({"groups": Groups(count=3, allowed=1)}, "equal groups"),
    ({"groups": Groups(count=8, allowed=4)}, "two best"), ({"groups": Groups(count=4, allowed=5)}, "equal groups"),
])  # fmt: skip
def test_sizes_that_do_not_fit_are_told(changes, words):
    with pytest.raises(ValueError, match=words):
        replace(DEEPSEEK, **changes)


def test_the_built_in_mixture_is_as_large_as_it_is_said_to_be():
    config = DEEPSEEK_CONFIGS["mixture"]
    assert config.parameters == sum(weight.numel() for weight in DeepseekV3(config).parameters())
    assert 6e6 <= config.parameters <= 9e6, "large enough to write text, small enough for all weights together to stay below 120 MiB"
    assert config.n_experts >= 16 and config.n_shared >= 1 and config.groups.allowed < config.groups.count
