"""A small language model with each attention: it learns, is causal, and what softmax solves a short window cannot."""

import pytest
import torch

from models.attention.signature import ROWS_SUM_TO_ONE, AttentionError
from models.attention.small_lm import SmallLmConfig, build, lm_loss, score, side_by_side, train
from models.attention.table import ATTENTIONS, kind
from models.attention.tasks import copy
from models.fitting import FitConfig

CAUSAL = [name for name in ATTENTIONS if kind(name).causal != "no"]
KNOBS = {
    "window": {"width": 6}, "strided": {"stride": 4}, "fixed": {"stride": 4, "summary": 1}, "block_sparse": {"block": 4},
    "top_k": {"keep": 4}, "lsh": {"buckets": 4}, "low_rank": {"rank": 2, "chunk": 6}, "performer": {"features": 16, "chunk": 8},
    "linear": {"chunk": 8}, "gau_chunked": {"chunk": 8}, "flash": {"tile_q": 8, "tile_k": 8},
}  # fmt: skip
TASK = copy(16, period=12)
T = 24


def model(attention, n_layers=1, **knobs):
    return build(SmallLmConfig(
        vocab_size=16, dim=32, n_layers=n_layers, n_heads=2, ffn_dim=64, max_len=T, attention=attention, rope_theta=100.0,
        knobs={**KNOBS.get(attention, {}), **knobs},
    ))  # fmt: skip


def fit_config(steps):
    return FitConfig(steps=steps, lr=2e-2, warmup=10, bf16=False, weight_decay=0.0)


@pytest.mark.parametrize("attention", CAUSAL)
def test_every_attention_can_be_trained(attention):
    """All weights get gradients, and in a few steps one batch is fitted better."""
    net = model(attention)
    ids, targets = TASK.at(0, 4, T)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    losses = []
    for _ in range(8):
        value, _ = lm_loss(net, ids, targets)
        optimizer.zero_grad()
        value.backward()
        for name, parameter in net.named_parameters():
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().max() > 0, name
        optimizer.step()
        losses.append(float(value.detach()))
    assert losses[-1] < losses[0] - 0.05


@pytest.mark.parametrize("attention", [name for name in CAUSAL if kind(name).causal != "values"])
def test_logits_do_not_depend_on_later_tokens(attention):
    net = model(attention, n_layers=2)
    ids, _ = TASK.at(0, 2, T)
    whole = net(ids)
    changed = torch.cat([ids[:, :15], (ids[:, 15:] + 1) % 16], dim=1)
    torch.testing.assert_close(net(changed)[:, :15], whole[:, :15], rtol=0, atol=1e-5)
    torch.testing.assert_close(net(ids[:, :15]), whole[:, :15], rtol=0, atol=1e-5)
    assert (net(changed)[:, 15:] - whole[:, 15:]).abs().max() > 1e-3


def test_softmax_learns_to_copy_and_a_window_that_is_too_short_does_not():
    runs = {"softmax": model("softmax"), "window": model("window", width=6)}
    record = {name: [] for name in runs}
    for name, step in side_by_side(runs, TASK, 16, T, fit_config(60)):
        record[name].append(step)
    assert score(runs["softmax"], TASK, 32, T)["accuracy"] > 0.95
    assert score(runs["window"], TASK, 32, T)["accuracy"] < 0.2  # one in 16 by chance
    assert record["softmax"][-1].metrics["accuracy"] > 0.95 and record["softmax"][-1].loss < 0.3 * record["softmax"][0].loss
    maps = []
    runs["softmax"](TASK.at(0, 4, T, seed=9)[0], maps)
    i = torch.arange(11, T)
    assert maps[0].weights[:, :, i, i - 11].mean(0).mean(-1).max() > 0.5  # a head looks behind the earlier copy
    assert maps[0].normalisation == ROWS_SUM_TO_ONE


def test_side_by_side_equals_one_at_a_time():
    alone = [step.loss for step in train(model("linear"), TASK, 4, T, fit_config(3))]
    both = side_by_side({"a": model("linear"), "b": model("gau")}, TASK, 4, T, fit_config(3))
    together = [step.loss for name, step in both if name == "a"]
    assert alone == together


def test_models_are_about_equally_large_and_seeds_decide_their_weights():
    def size(net):
        return sum(p.numel() for p in net.parameters())

    sizes = {name: size(build(SmallLmConfig(vocab_size=16, dim=96, n_layers=2, n_heads=3, ffn_dim=256, max_len=64, attention=name)))
             for name in ("softmax", "linear", "gau", "gau_chunked", "low_rank")}  # fmt: skip
    assert sizes["linear"] == sizes["softmax"]
    assert all(abs(n / sizes["softmax"] - 1) < 0.15 for n in sizes.values())
    state = torch.get_rng_state()
    one, same = model("softmax"), model("softmax")
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert torch.equal(state, torch.get_rng_state())


def test_layers_of_performer_draw_other_directions_and_lsh_shares_its_keys():
    net = model("performer", n_layers=2)
    assert [block.knobs["seed"] for block in net.blocks] == [0, 1]
    assert model("lsh").blocks[0].knobs["shared"] is True
    assert set(dict(model("low_rank").named_parameters())) >= {"blocks.0.learned.E", "blocks.0.learned.F"}


def test_what_cannot_be_built_is_refused_in_a_sentence():
    with pytest.raises(AttentionError, match="cannot be causal"):
        model("efficient")
    with pytest.raises(AttentionError, match="width lies between"):
        model("window", width=0)
    with pytest.raises(AttentionError, match="25 tokens, the model reads 24"):
        model("softmax")(torch.zeros(1, 25, dtype=torch.long))
    with pytest.raises(ValueError, match="does not split"):
        SmallLmConfig(vocab_size=16, dim=30, n_layers=1, n_heads=4, ffn_dim=8, max_len=8, attention="softmax")
