"""Number formats: what they may change and what not, and the choice among them."""

import json

import pytest
import torch

from models.language import formats
from models.language.formats import FormatError, apply_format, choose_format, has_fbgemm, lossless
from models.language.llama import Llama, LlamaConfig
from models.language.packed import PackedLinear, PackedNorm
from models.nn.norm import RmsNorm
from models.nn.probe import Probe
from tests.models.parity import fill_alive, normal

CONFIG = LlamaConfig(
    dim=64, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=16, ffn_dim=128, vocab_size=300, max_len=256, norm_eps=1e-5,
    rope_theta=1e4, rope_scaling=None, tied=True,
)  # fmt: skip
needs_fbgemm = pytest.mark.skipif(not has_fbgemm(), reason="this processor has no FBGEMM")


def model(tied: bool = True) -> Llama:
    built = fill_alive(Llama(CONFIG if tied else LlamaConfig(**{**vars(CONFIG), "tied": False}))).requires_grad_(False)
    for block in built.blocks:
        for norm in (block.attention_norm, block.ffn_norm, built.norm_out):
            norm.weight.data = 1 + 0.1 * normal(64)
    return built


def ids(n: int = 40) -> torch.Tensor:
    return torch.arange(n)[None] * 7 % 300


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return ((a - b).norm() / b.norm()).item()


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(("name", "bound"), [
    ("fp32", 0.0), ("bf16", 3e-2), ("fp16", 4e-3), pytest.param("fp16-fbgemm", 2e-3, marks=needs_fbgemm),
])  # fmt: skip
def test_logits_stay_close_to_fp32(name, bound, tied):
    exact = model(tied)
    changed = apply_format(model(tied), name)
    difference = relative(changed.head(changed(ids())), exact.head(exact(ids())))
    assert difference <= bound and (difference > 0 or bound == 0)
    assert changed.head(changed(ids())).dtype == torch.float32


@needs_fbgemm
def test_packed_weights_are_fp16_and_sums_fp32():
    """Exactly the product with the rounded matrix, to the rounding of fp32 sums."""
    weight, x = normal(70, 33), normal(2, 5, 33, seed=2)
    packed = PackedLinear(weight)
    expected = x.double() @ weight.half().double().T
    assert (packed(x) - expected).abs().max() < 2e-5
    assert (packed(x) - x.double() @ weight.double().T).abs().max() > 1e-4
    assert torch.equal(packed(x[0, 0]), packed(x[0, :1])[0])  # a single vector too


@needs_fbgemm
@pytest.mark.parametrize("reason", ["threads", "version"])
def test_both_entries_to_fbgemm_compute_the_same(monkeypatch, reason):
    """The lean one with one thread, the other with several, or where torch has dropped the lean one."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    lean = PackedLinear(normal(32, 16))
    if reason == "threads":
        monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    else:
        monkeypatch.delattr(torch, "fbgemm_pack_gemm_matrix_fp16")
    other = PackedLinear(normal(32, 16))
    assert other.product.__code__ is not lean.product.__code__
    assert torch.equal(other(normal(3, 16)), lean(normal(3, 16)))


def test_the_packed_norm_is_the_norm():
    norm = RmsNorm(64, 1e-5)
    norm.weight.data = normal(64)
    for x in (normal(2, 3, 64), normal(1, 64) * 1e-4, torch.zeros(1, 64)):
        assert torch.allclose(PackedNorm(norm)(x), norm(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["fp32", pytest.param("fp16-fbgemm", marks=needs_fbgemm)])
def test_lossless_formats_check_several_tokens_as_single_steps_would(name):
    changed = apply_format(model(), name)
    cache, single = changed.new_cache(), []
    changed.step(ids()[0, :20], cache)
    for token in ids()[0, 20:28]:
        single.append(changed.step(token[None], cache)[0])
    cache.crop(20)
    together, _ = changed.step(ids()[0, 20:28], cache)
    assert lossless(name)
    assert (together - torch.cat(single)).abs().max() < 1e-4


@needs_fbgemm
def test_packed_layers_do_everything_that_readable_ones_do():
    """Chunks, batches, trees, early exit and probes: against the same net with its weights rounded to fp16."""
    packed, plain = apply_format(model(), "fp16-fbgemm"), model()
    for weight in plain.parameters():
        if weight.ndim > 1:
            weight.copy_(weight.half())
    text = torch.cat([ids(12), ids(12).flip(1)])
    seen = torch.ones(3, 15, dtype=torch.bool)
    seen[1, 12] = seen[2, 13] = False
    results = []
    for net in (plain, packed):
        probe, cache = Probe("resid", "q", "k"), net.new_cache(batch=2)
        found = [net(text[:, :5], cache), net(text[:, 5:6], cache), net(text[:, 6:12], cache, probe=probe)]
        found += [net(text[:, :3], cache, positions=torch.tensor([12, 13, 13]), mask=seen)]
        cache.keep(12, [0, 2])
        found += [net(text[:, :1], cache), net(text, n_layers=1), net(text[:1]), net(text[:, :1])]
        results.append([*found, *probe.resid.values(), *probe.q.values(), *probe.k.values()])
    for expected, got in zip(*results):
        assert got.shape == expected.shape and (got - expected).abs().max() < 1e-4


def test_half_precision_is_not_called_lossless():
    assert not lossless("bf16") and not lossless("fp16")


@needs_fbgemm
def test_packing_has_no_way_back():
    packed = apply_format(model(), "fp16-fbgemm")
    assert apply_format(packed, "fp16-fbgemm") is packed
    with pytest.raises(FormatError, match="Packed"):
        apply_format(packed, "fp32")
    with pytest.raises(FormatError, match="'int3'"):
        apply_format(model(), "int3")


@needs_fbgemm
def test_weights_beyond_fp16_are_told():
    large = model()
    large.blocks[0].out.weight[0, 0] = 1e5
    with pytest.raises(FormatError, match="cannot hold"):
        apply_format(large, "fp16-fbgemm")


def test_the_fastest_lossless_format_is_chosen(monkeypatch):
    times = {"fp32": 3.0, "bf16": 1.0, "fp16-fbgemm": 2.0}
    monkeypatch.setattr(formats, "_trial", lambda name, rows, dim: times[name])
    monkeypatch.setattr(formats, "has_fbgemm", lambda: True)
    choice = choose_format(CONFIG)
    assert choice.name == "fp16-fbgemm" and set(choice.table) == set(times)
    times["fp16-fbgemm"] = 9.0
    assert choose_format(CONFIG).name == "fp32"
    monkeypatch.setattr(formats, "has_fbgemm", lambda: False)
    assert set(choose_format(CONFIG).table) == {"fp32", "bf16"}


def test_the_choice_is_measured_once_and_kept(monkeypatch, tmp_path):
    notes, calls = tmp_path / "new" / "formats.json", []
    monkeypatch.setattr(formats, "_trial", lambda name, rows, dim: calls.append(name) or 1.0)
    first = choose_format(CONFIG, notes=notes)
    measured = len(calls)
    assert measured and choose_format(CONFIG, notes=notes) == first and len(calls) == measured
    for damaged in ("", "[1]", json.dumps({key: {"fp32": "fast"} for key in json.loads(notes.read_text())})):
        notes.write_text(damaged)
        assert choose_format(CONFIG, notes=notes) == first
    assert len(calls) == 4 * measured


def test_a_real_measurement_gives_times_for_all_candidates(monkeypatch):
    monkeypatch.setattr(formats, "TRIAL_WEIGHTS", 2**16)
    choice = choose_format(CONFIG)
    assert choice.name in ("fp32", "fp16-fbgemm") and all(ms > 0 for ms in choice.table.values())
    assert choose_format(CONFIG, "cuda").name == "fp16"
