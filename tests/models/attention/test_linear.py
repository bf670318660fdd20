"""Linear attention: three forms of one function, its kernels, its state; against MiniMax's lightning attention in transformers."""

import pytest
import torch
import transformers

from models.attention.linear import FEATURES, FORMS, efficient, kernel_attention, linear, memory_steps, taylor
from models.attention.signature import past
from models.attention.table import attend
from tests.models.parity import LAYER, assert_close, fill, normal


def heads(T=45, d=6, dtype=torch.float64):
    return normal(2, 3, T, d).to(dtype), normal(2, 3, T, d, seed=2).to(dtype), normal(2, 3, T, 5, seed=3).to(dtype)


@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize("form", FORMS)
def test_all_forms_are_the_masked_quadratic_form(feature, form):
    """Written out once more from the equation, token by token in plain sums."""
    q, k, v = heads(T=21)
    phi = FEATURES[feature]
    fq, fk = phi.function(q), phi.function(k)
    wanted = torch.zeros_like(v)
    for i in range(21):
        kernel = (fq[:, :, i, None] * fk[:, :, : i + 1]).sum(-1)            # (B, H, i + 1)
        total = kernel.sum(-1) if phi.positive else torch.tensor(i + 1.0)
        total = torch.where(total == 0, 1, total)  # ReLU may see nothing
        wanted[:, :, i] = (kernel[..., None] * v[:, :, : i + 1]).sum(2) / total[..., None]
    found = linear(q, k, v, feature=feature, form=form, chunk=4).out
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-10)
    single = linear(q.float(), k.float(), v.float(), feature=feature, form=form, chunk=4).out
    torch.testing.assert_close(single.double(), wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("feature", FEATURES)
def test_without_a_mask_sums_go_over_all_keys(feature):
    q, k, v = heads()
    found = linear(q, k[:, :, :30], v[:, :, :30], causal=False, feature=feature, want_map=True)
    phi = FEATURES[feature]
    kernel = phi.function(q) @ phi.function(k[:, :, :30]).transpose(-1, -2)
    weights = kernel / (kernel.sum(-1, keepdim=True).clamp(min=1e-300) if phi.positive else 30)
    torch.testing.assert_close(found.weights, weights, rtol=0, atol=1e-12)
    torch.testing.assert_close(found.out, weights @ v[:, :, :30], rtol=0, atol=1e-12)


@pytest.mark.parametrize("feature", FEATURES)
def test_gradients_do_not_depend_on_the_form(feature):
    direction = normal(2, 3, 20, 5, seed=8).double()
    grads = []
    for form in FORMS:
        q, k, v = (x.requires_grad_() for x in heads(T=20))
        out = linear(q, k, v, feature=feature, form=form, chunk=6).out
        grads.append(torch.autograd.grad((out * direction).sum(), [q, k, v]))
    for others in grads[1:]:
        for one, other in zip(grads[0], others, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


def test_the_chunk_does_not_matter():
    q, k, v = heads()
    outs = [linear(q, k, v, chunk=chunk).out for chunk in (1, 7, 16, 45, 100)]
    for out in outs[1:]:
        torch.testing.assert_close(out, outs[0], rtol=0, atol=1e-12)


@torch.no_grad()
def test_identity_equals_minimaxs_lightning_attention_without_decay():
    """Theirs neither scales nor divides; ours multiplies by d^(-1/2) and divides by the number of keys seen."""
    from transformers.models.minimax.modeling_minimax import MiniMaxLightningAttention

    config = transformers.MiniMaxConfig(
        hidden_size=24, num_attention_heads=3, num_key_value_heads=3, head_dim=8, num_hidden_layers=2, block_size=8,
        layer_types=["linear_attention"] * 2,
    )  # fmt: skip
    layer = fill(MiniMaxLightningAttention(config, layer_idx=0), std=0.3)
    layer.slope_rate.zero_()
    layer.query_decay.fill_(1)
    layer.key_decay.fill_(1)
    layer.diagonal_decay.copy_(past(8, 8).float())
    found = {}
    layer.norm.register_forward_pre_hook(lambda module, args: found.update(out=args[0]))
    x = normal(2, 29, 24)
    layer(x, position_embeddings=None, attention_mask=None)
    q, k, v = layer.act_fn(layer.qkv_proj(x)).unflatten(-1, (3, 24)).transpose(1, 2).chunk(3, dim=-1)
    ours = linear(q, k, v, feature="identity", chunk=8).out * torch.arange(1, 30)[:, None] * 8**0.5
    assert_close(ours.transpose(1, 2).flatten(2), found["out"], 10 * LAYER)  # sums of 29 products, values to 20


def test_kernels_are_positive_where_they_say_so():
    x = 3 * normal(500, 6)
    for name, phi in FEATURES.items():
        kernel = phi.function(x) @ phi.function(x).T
        assert (kernel.min() >= 0) == phi.positive, name
        assert phi.function(x).shape[-1] == {"taylor": 1 + 6 + 36}.get(name, 6)


def test_taylor_is_the_exponential_to_second_order():
    q, k = normal(50, 8).double(), normal(50, 8, seed=2).double()
    s = (q @ k.T) * 8**-0.5
    torch.testing.assert_close(taylor(q) @ taylor(k).T, 1 + s + s**2 / 2, rtol=0, atol=1e-12)
    small = (taylor(0.1 * q) @ taylor(k).T).log() - 0.1 * s
    assert small.abs().max() < 0.06


def test_a_kernel_that_sees_nothing_gives_zero_and_no_nan():
    q, k, v = -torch.ones(1, 1, 3, 4), torch.ones(1, 1, 3, 4), torch.ones(1, 1, 3, 2)
    for form in FORMS:
        assert torch.equal(linear(q, k, v, feature="relu", form=form).out, torch.zeros(1, 1, 3, 2))


def test_the_state_is_the_sum_of_outer_products_and_gives_the_output():
    q, k, v = heads(T=9)
    steps = list(memory_steps(q, k, v))
    fk = FEATURES["elu1"].function(k)
    torch.testing.assert_close(steps[-1].state[..., :-1], fk.transpose(-1, -2) @ v, rtol=0, atol=1e-12)
    torch.testing.assert_close(steps[-1].state[..., -1], fk.sum(2), rtol=0, atol=1e-12)
    torch.testing.assert_close(torch.stack([step.out for step in steps], 2), linear(q, k, v).out, rtol=0, atol=1e-12)
    assert [step.i for step in steps] == list(range(9)) and steps[0].state.shape == (2, 3, 6, 6)


def test_efficient_attention_is_its_equation_and_its_implied_rows_sum_to_one():
    q, k, v = heads()
    found = efficient(q, k[:, :, :30], v[:, :, :30], want_map=True)
    wanted = q.softmax(-1) @ (k[:, :, :30].softmax(-2).transpose(-1, -2) @ v[:, :, :30])
    torch.testing.assert_close(found.out, wanted, rtol=0, atol=1e-12)
    torch.testing.assert_close(found.weights.sum(-1), torch.ones(2, 3, 45).double(), rtol=0, atol=1e-12)


def test_work_grows_like_the_text_and_not_like_its_square():
    def slope(name, **knobs):
        flops = [attend(name, *(normal(1, 1, T, 4),) * 3, knobs=knobs).cost.flops for T in (256, 1024)]
        return torch.tensor(flops).log().diff().item() / torch.log(torch.tensor(4.0)).item()

    assert slope("linear") == pytest.approx(1, abs=0.05) and slope("linear", form="recurrent") == pytest.approx(1, abs=0.05)
    assert slope("softmax") == pytest.approx(2, abs=0.05) and slope("linear", form="quadratic") == pytest.approx(2, abs=0.05)


def test_values_of_any_width_share_the_features():
    q, k, v = heads()
    fq, fk = q.exp(), k.exp()
    whole = kernel_attention(fq, fk, v, causal=True)
    for column in range(5):
        torch.testing.assert_close(kernel_attention(fq, fk, v[..., [column]], causal=True), whole[..., [column]], rtol=0, atol=1e-12)
