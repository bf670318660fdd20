"""Multi-token heads: gradients head by head, one head is the plain model, layers are transformers' layers, self-speculation."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from models.decoding.block import Block, BlockConfig, causal_mask, forgetful
from models.decoding.draft_length import FixedLength
from models.decoding.drafting import NoDrafter
from models.decoding.generate import Generation
from models.decoding.mtp import MtpConfig, MtpDrafter, MtpHeads, MultiTokenNet, naive_loss, sequential_loss, shifted
from models.decoding.sampling import SamplingConfig
from models.nn.rope import pairs_to_half_split
from tests.models.decoding.toys import text, tiny_llama

BLOCK = BlockConfig(dim=32, n_heads=4, n_kv_heads=2, head_dim=8, ffn_dim=48, norm_eps=1e-5, rope_theta=10_000.0, max_len=128)


def heads_of(offsets: tuple[int, ...]) -> tuple[MtpHeads, nn.Linear]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        heads, unembed = MtpHeads(MtpConfig(BLOCK, offsets, 40)), nn.Linear(32, 40, bias=False)
        for parameter in (*heads.parameters(), *unembed.parameters()):
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.3)
    return heads, unembed


def test_labels_end_where_the_text_does() -> None:
    tokens = torch.tensor([[5, 6, 7, 8]])
    assert shifted(tokens, 1).tolist() == [[6, 7, 8, -100]]
    assert shifted(tokens, 3).tolist() == [[8, -100, -100, -100]]
    assert shifted(tokens, 5).tolist() == [[-100] * 4]
    assert shifted(tokens, 1, torch.tensor([[True, True, False, True]])).tolist() == [[6, -100, 8, -100]]


def test_gradients_head_by_head_are_those_of_the_sum() -> None:
    heads, unembed = heads_of((1, 2, 3, 4))
    heads, unembed = heads.double(), unembed.double()
    tokens = torch.randint(0, 40, (3, 12), generator=torch.Generator().manual_seed(1))
    trunk = torch.randn(3, 12, 32, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found = []
    for loss in (naive_loss, sequential_loss):
        z = trunk.clone().requires_grad_()
        heads.zero_grad()
        unembed.zero_grad()
        value = loss(heads, z, tokens, unembed) * 3.0
        value.backward()
        found.append([value.detach(), z.grad, unembed.weight.grad, *(parameter.grad.clone() for parameter in heads.parameters())])
    for naive, sequential in zip(*found, strict=True):
        assert float(naive.abs().max()) > 0
        torch.testing.assert_close(sequential, naive, atol=1e-6, rtol=1e-6)


def test_only_one_head_has_logits_at_a_time() -> None:
    alive, most = 0, 0
    heads, unembed = heads_of((1, 2, 3))

    class Counted(torch.autograd.Function):
        @staticmethod
        def forward(ctx, logits):
            nonlocal alive, most
            alive += 1
            most = max(most, alive)
            return logits.clone()

        @staticmethod
        def backward(ctx, gradient):
            nonlocal alive
            alive -= 1
            return gradient

    class Watched(nn.Linear):
        def forward(self, x):
            return Counted.apply(super().forward(x))

    watched = Watched(32, 40, bias=False)
    watched.weight = unembed.weight
    tokens = torch.randint(0, 40, (2, 9), generator=torch.Generator().manual_seed(1))
    z = torch.randn(2, 9, 32, requires_grad=True)
    sequential_loss(heads, z, tokens, watched).backward()
    assert (alive, most) == (0, 1)
    naive_loss(heads, z, tokens, watched).backward()
    assert most == 3


def test_one_head_is_the_plain_language_model() -> None:
    heads, unembed = heads_of((1,))
    trunk = tiny_llama()
    net = MultiTokenNet(trunk, heads, unembed)
    tokens = torch.randint(0, 40, (2, 10), generator=torch.Generator().manual_seed(3))
    (logits,) = net(tokens)
    plain = cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
    torch.testing.assert_close(sequential_loss(heads, trunk(tokens), tokens, unembed), plain)


def test_a_layer_is_transformers_layer() -> None:
    from transformers import LlamaConfig as Config
    from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaRotaryEmbedding

    config = Config(
        hidden_size=32, num_attention_heads=4, num_key_value_heads=2, head_dim=8, intermediate_size=48, rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0}, attn_implementation="eager",
    )  # fmt: skip
    theirs, heads = LlamaDecoderLayer(config, 0).eval(), heads_of((1, 2))[0].eval()
    ours: Block = heads.blocks[0]
    q, k, v = ours.qkv.weight.split([32, 16, 16])
    gate, up = ours.gate_up.weight.chunk(2)
    theirs.load_state_dict({
        "self_attn.q_proj.weight": pairs_to_half_split(q, 4), "self_attn.k_proj.weight": pairs_to_half_split(k, 2),
        "self_attn.v_proj.weight": v, "self_attn.o_proj.weight": ours.out.weight, "mlp.gate_proj.weight": gate,
        "mlp.up_proj.weight": up, "mlp.down_proj.weight": ours.down.weight,
        "input_layernorm.weight": ours.attention_norm.weight, "post_attention_layernorm.weight": ours.ffn_norm.weight,
    })  # fmt: skip
    x = torch.randn(2, 9, 32, generator=torch.Generator().manual_seed(0))
    mask = torch.full((9, 9), float("-inf")).triu(1)[None, None]
    places = LlamaRotaryEmbedding(config)(x, torch.arange(9)[None])
    expected = theirs(x, attention_mask=mask, position_embeddings=places)
    expected = expected[0] if isinstance(expected, tuple) else expected
    torch.testing.assert_close(ours(x, heads.turn(0, 9, x.device), causal_mask(9, 9), forgetful), expected, atol=1e-5, rtol=1e-5)


def test_self_speculative_text_is_that_of_head_one_alone() -> None:
    heads, unembed = heads_of((1, 2, 3, 4))
    net = MultiTokenNet(tiny_llama(), heads.eval(), unembed).requires_grad_(False)
    texts, accepted = [], 0
    for drafter in (NoDrafter(), MtpDrafter(heads, unembed, 128)):
        run = Generation(net, [3, 1, 4], drafter, SamplingConfig(), FixedLength(3), max_new_tokens=60, context=128)
        rounds = list(run.rounds())
        texts.append(text(rounds))
        accepted = sum(done.accepted for done in rounds)
        assert run.cache.length == run.cache.head.length == len(run.ids) - 1
    assert texts[0] == texts[1] and accepted > 0
    (whole, *_) = net(torch.tensor([run.ids]))
    assert whole[0, 2:-1].argmax(-1).tolist() == texts[0]


def test_offsets_must_rise() -> None:
    for wrong in ((), (2, 1), (0, 1), (1, 1)):
        with pytest.raises(ValueError, match="offsets"):
            MtpConfig(BLOCK, wrong, 40)
    with pytest.raises(ValueError, match="nothing guesses the next"):
        MultiTokenNet(tiny_llama(), *heads_of((2, 3)))
