"""Maps brought back from captured queries and keys are those that transformers' eager attention reports."""

import torch
import transformers

from models.attention.softmax import softmax, softmax_weights, top_k
from tests.models.parity import assert_close, normal


@torch.no_grad()
def test_maps_equal_the_eager_ones_of_gpt2():
    config = transformers.GPT2Config(n_embd=48, n_layer=2, n_head=6, vocab_size=131, n_positions=64, attn_implementation="eager")
    torch.manual_seed(0)
    model, captured = transformers.GPT2LMHeadModel(config).eval(), []
    for block in model.transformer.h:
        block.attn.c_attn.weight.normal_(std=0.3)
        block.attn.c_attn.register_forward_hook(lambda module, args, out: captured.append(out))
    ids = torch.randint(0, 131, (2, 40), generator=torch.Generator().manual_seed(1))
    attentions = model(ids, output_attentions=True).attentions
    for qkv, expected in zip(captured, attentions, strict=True):
        q, k, _ = (x.unflatten(-1, (6, 8)).transpose(1, 2) for x in qkv.chunk(3, dim=-1))
        assert_close(softmax_weights(q, k), expected, 1e-5)


def test_top_k_keeps_the_largest_weights_and_scales_them_up():
    q, k, v = normal(1, 2, 30, 8), normal(1, 2, 30, 8, seed=2), normal(1, 2, 30, 8, seed=3)
    whole, few = (f(q, k, v, want_map=True, **knobs).weights for f, knobs in ((softmax, {}), (top_k, {"keep": 4})))
    assert ((few > 0).sum(-1) == torch.arange(1, 31).clamp(max=4)).all()
    smallest_kept = torch.where(few > 0, whole, 1.0).amin(-1)
    assert (torch.where(few > 0, 0.0, whole).amax(-1) <= smallest_kept).all()
    kept = whole * (few > 0)
    torch.testing.assert_close(few, kept / kept.sum(-1, keepdim=True), rtol=0, atol=1e-6)
