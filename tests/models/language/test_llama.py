"""Our LLaMA against transformers' LlamaForCausalLM on equal random weights, and what must hold of any decoder.

Sizes are small; grouped queries, an untied output matrix and every way of stretching positions are covered.
"""

import pytest
import torch
import transformers

from models.language.keymaps import assemble, config_from_json, hf_keymap
from models.language.llama import LLAMA_CONFIGS, Llama, LlamaConfig
from models.nn.probe import Probe
from tests.models.parity import WHOLE, assert_close

ROPES = {
    "default": {"rope_type": "default"},
    "linear": {"rope_type": "linear", "factor": 4.0},
    "dynamic": {"rope_type": "dynamic", "factor": 2.0},
    "llama3": {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32,
    },
    "yarn": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32},
}  # fmt: skip
MAX_LEN = 64


def their_model(rope: str = "default", **changes) -> transformers.LlamaForCausalLM:
    sizes = {
        "hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 16,
        "intermediate_size": 80, "vocab_size": 131, "max_position_embeddings": MAX_LEN, "rms_norm_eps": 1e-5,
        "tie_word_embeddings": False, "initializer_range": 0.2,
    }  # fmt: skip
    torch.manual_seed(0)
    config = transformers.LlamaConfig(**{**sizes, **changes}, rope_parameters={"rope_theta": 10_000.0, **ROPES[rope]})
    model = transformers.LlamaForCausalLM(config).eval().requires_grad_(False)
    for name, weight in model.named_parameters():
        if "norm" in name:
            weight.add_(torch.randn(weight.shape) * 0.1)
    return model


def our_model(theirs: transformers.LlamaForCausalLM) -> Llama:
    config = config_from_json(theirs.config.to_dict(), "test")
    model = Llama(config).eval().requires_grad_(False)
    state = theirs.state_dict()
    shapes = {name: weight.shape for name, weight in model.named_parameters()}
    filled = dict(assemble(shapes, state, state.__getitem__, hf_keymap(config), "test"))
    if config.tied:
        filled["unembed.weight"] = filled["tokens.weight"]
    model.load_state_dict(filled)
    return model


def ids(*shape: int, seed: int = 5) -> torch.Tensor:
    return torch.randint(0, 131, shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def model() -> Llama:
    return our_model(their_model())


@pytest.mark.parametrize("rope", ROPES)
def test_logits_equal_transformers(rope):
    theirs = their_model(rope)
    ours = our_model(theirs)
    for length in (1, 40, MAX_LEN):
        text = ids(2, length)
        assert_close(ours.head(ours(text)), theirs(text).logits, WHOLE)


def test_dynamic_scaling_equals_transformers_beyond_the_original_context():
    theirs = their_model("dynamic")
    ours, text = our_model(theirs), ids(1, MAX_LEN + 30)
    assert ours.config.max_len == 2 * MAX_LEN
    assert_close(ours.head(ours(text)), theirs(text).logits, WHOLE)


@pytest.mark.parametrize("changes", [
    {"tie_word_embeddings": True}, {"num_key_value_heads": 6}, {"num_key_value_heads": 1}, {"head_dim": 8},
])  # fmt: skip
def test_other_shapes_equal_transformers(changes):
    theirs = their_model(**changes)
    ours = our_model(theirs)
    assert ours.config.tied == changes.get("tie_word_embeddings", False)
    assert (ours.unembed.weight.data_ptr() == ours.tokens.weight.data_ptr()) == ours.config.tied
    assert_close(ours.head(ours(ids(2, 20))), theirs(ids(2, 20)).logits, WHOLE)


def test_hidden_states_of_every_layer_equal_transformers():
    theirs = their_model()
    ours, probe = our_model(theirs), Probe("resid", "q", "k")
    wanted = theirs(ids(1, 9), output_hidden_states=True).hidden_states
    hidden = ours(ids(1, 9), probe=probe)
    assert sorted(probe.resid) == [-1, 0, 1, 2] and sorted(probe.q) == [0, 1, 2]
    for layer in (-1, 0, 1):
        assert_close(probe.resid[layer], wanted[layer + 1], WHOLE)
    assert_close(hidden, wanted[-1], WHOLE)
    assert probe.q[0].shape == (1, 9, 6, 16) and probe.k[0].shape == (1, 9, 2, 16)


def test_probed_queries_and_keys_give_the_attention(model):
    """softmax(q k^T / sqrt(D)) of the first layer, applied to its values, is what attention gave."""
    block, text, probe = model.blocks[0], ids(1, 7), Probe("q", "k", layers=frozenset({0}))
    model(text, probe=probe)
    assert list(probe.q) == [0]
    qkv = block.qkv(block.attention_norm(model.tokens(text)))
    turn = model._rotations.rows(0, 7, text.device)
    attended = block.attend(qkv, turn, None, True, None, None)
    v = qkv.view(1, 7, -1, 16)[:, :, 8:].repeat_interleave(3, 2)
    scores = torch.einsum("bthd,bshd->bhts", probe.q[0], probe.k[0].repeat_interleave(3, 2)) / 4
    scores = scores.masked_fill(torch.ones(7, 7).triu(1).bool(), float("-inf"))
    assert_close(torch.einsum("bhts,bshd->bthd", scores.softmax(-1), v).flatten(2), attended, 1e-5)


def test_a_probe_changes_nothing(model):
    assert torch.equal(model(ids(1, 9)), model(ids(1, 9), probe=Probe("resid", "q", "k")))
    with pytest.raises(ValueError, match="collects"):
        Probe("weights")


@pytest.mark.parametrize("cuts", [[1] * 30, [30], [7, 1, 1, 5, 16], [29, 1]])
def test_cached_decoding_equals_the_full_forward(model, cuts):
    text = ids(2, 30)
    full, cache, got, at = model(text), model.new_cache(batch=2), [], 0
    for cut in cuts:
        got.append(model(text[:, at : at + cut], cache))
        at += cut
    assert cache.length == 30
    assert_close(torch.cat(got, 1), full, WHOLE)


def test_a_long_text_outgrows_the_first_room_of_the_cache():
    theirs = their_model(max_position_embeddings=1000)
    model, text = our_model(theirs), ids(1, 600)
    cache = model.new_cache(700)
    got = torch.cat([model(text[:, i : i + 150], cache) for i in range(0, 600, 150)], 1)
    assert_close(model.head(got), theirs(text).logits, WHOLE)


def test_a_tree_gives_every_node_the_logits_of_its_path(model):
    """Nodes in any order that puts parents first; a node sees the prefix, its ancestors and itself."""
    parents = [-1, 0, 0, 1, 2, 4, -1]
    prefix, nodes = ids(12), ids(7, seed=8)
    cache = model.new_cache()
    model.step(prefix, cache)
    depth, seen = [], torch.zeros(7, 12 + 7, dtype=torch.bool)
    for node, parent in enumerate(parents):
        depth.append(0 if parent < 0 else depth[parent] + 1)
        seen[node] = seen[parent] if parent >= 0 else torch.arange(19) < 12
        seen[node, 12 + node] = True
    logits, hidden = model.step(nodes, cache, positions=12 + torch.tensor(depth), mask=seen)
    assert logits.shape == (7, 131) and hidden.shape == (7, 48)
    for node in range(7):
        path = [node]
        while parents[path[0]] >= 0:
            path.insert(0, parents[path[0]])
        alone = model.head(model(torch.cat([prefix, nodes[path]])[None]))[0, -1]
        assert_close(logits[node], alone, WHOLE)
    cache.keep(12, [0, 2, 4, 5])  # accept the path 0 2 4 5 and go on from it
    after, _ = model.step(ids(3, seed=9), cache)
    text = torch.cat([prefix, nodes[[0, 2, 4, 5]], ids(3, seed=9)])
    assert_close(after, model.head(model(text[None]))[0, -3:], WHOLE)


def test_batched_masks_and_positions_serve_texts_of_unequal_length(model):
    """A shorter text, padded on the left, gets the hidden states it has alone."""
    text = ids(2, 10)
    positions = torch.stack([torch.arange(10), (torch.arange(10) - 4).clamp(min=0)])
    mask = torch.ones(10, 10).tril().bool().repeat(2, 1, 1)
    mask[1, 4:, :4] = False
    got = model(text, positions=positions, mask=mask)
    assert_close(got[0], model(text[:1])[0], WHOLE)
    assert_close(got[1, 4:], model(text[1:, 4:])[0], WHOLE)


def test_crop_takes_a_rejected_draft_back(model):
    cache, text = model.new_cache(), ids(20)
    model.step(text[:10], cache)
    model.step(ids(4, seed=77), cache)
    cache.crop(10)
    logits, _ = model.step(text[10:], cache)
    assert_close(logits, model.head(model(text[None]))[0, 10:], WHOLE)


def test_early_exit_norms_the_residual_of_its_layer(model):
    probe = Probe("resid")
    model(ids(1, 8), probe=probe)
    assert_close(model(ids(1, 8), n_layers=2), model.norm_out(probe.resid[1]), 1e-6)
    cache = model.new_cache()
    model(ids(1, 5), cache)
    drafted = model(ids(1, 8)[:, 5:], cache, n_layers=2)
    cache.crop(5)
    model(ids(1, 8)[:, 5:], cache)  # the check overwrites what the draft left in the lower layers
    assert cache.length == 8
    assert_close(drafted, model(ids(1, 8), n_layers=2)[:, 5:], WHOLE)


def test_hidden_states_of_a_step_can_teach_a_drafter(model):
    """A step runs in inference mode; what it gives must be ordinary tensors all the same, or training on them fails."""
    with torch.no_grad():
        logits, hidden = model.step(ids(6), model.new_cache())
    head = torch.nn.Linear(48, 5)
    (head(hidden).square().mean() + (torch.nn.Linear(131, 2)(logits)).sum()).backward()
    assert head.weight.grad.abs().max() > 0


def test_a_cache_filled_without_gradients_serves_a_pass_with_them(model):
    """Tables made on the way must not be tensors of inference mode either."""
    fresh, text = our_model(their_model()).requires_grad_(True), ids(2, 9)
    with torch.no_grad():
        fresh(text[:, :4], fresh.new_cache(batch=2))
    fresh.head(fresh(text)).square().mean().backward()
    assert all(weight.grad is not None for weight in fresh.parameters())


def test_step_gives_the_last_row_only_on_request(model):
    full, hidden = model.step(ids(6), model.new_cache())
    last, same = model.step(ids(6), model.new_cache(), last_only=True)
    assert last.shape == (1, 131) and last.dtype == torch.float32
    assert_close(last, full[-1:], 1e-5)
    assert torch.equal(hidden, same)


def test_gradients_reach_every_weight():
    model = Llama(config_from_json(their_model().config.to_dict(), "test"))
    model.head(model(ids(2, 12))).square().mean().backward()
    assert all(weight.grad is not None and weight.grad.abs().max() > 0 for weight in model.parameters())


def test_the_count_of_weights_is_right():
    for config in (LLAMA_CONFIGS["smollm2-135m"], config_from_json(their_model().config.to_dict(), "test")):
        with torch.device("meta"):
            assert config.parameters == sum(weight.numel() for weight in Llama(config).parameters())
    assert LLAMA_CONFIGS["smollm2-135m"].parameters == 134_515_008


@pytest.mark.parametrize(("changes", "words"), [
    ({"n_kv_heads": 4}, "6 query heads cannot share 4"), ({"head_dim": 15}, "even"),
    ({"n_layers": 10**9}, "from 1 to"), ({"n_layers": 5000}, "5000 layers"),
    ({"n_layers": 0}, "from 1 to"),
    ({"rope_theta": 0.0}, "range"), ({"norm_eps": float("nan")}, "range"),
])  # fmt: skip
def test_impossible_sizes_are_refused_with_both_numbers(changes, words):
    sound = {
        "dim": 48, "n_layers": 1, "n_heads": 6, "n_kv_heads": 2, "head_dim": 16, "ffn_dim": 80, "vocab_size": 9,
        "max_len": 9, "norm_eps": 1e-5, "rope_theta": 1e4, "rope_scaling": None, "tied": False,
    }  # fmt: skip
    with pytest.raises(ValueError, match=words):
        LlamaConfig(**{**sound, **changes})
