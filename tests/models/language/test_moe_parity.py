"""Our mixture-of-experts decoders against transformers' on equal random weights, through files as they are published."""

from __future__ import annotations

import json
from functools import cache

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers.modeling_layers import MtpLayer
from transformers.models.deepseek_v3 import modeling_deepseek_v3 as their_deepseek
from transformers.models.switch_transformers import modeling_switch_transformers as their_switch

from models.checkpoint import CheckpointError
from models.language.gating import AS_IS, RoutingTrace
from models.language.moe_keymaps import FAMILIES, assemble, config_from_json, load_moe, tell_apart
from models.language.sparse_decoder import Pass
from models.language.switch import SwitchConfig, SwitchNet
from models.nn.rope import RotationTable
from tests.models.parity import LAYER, WHOLE, assert_close

SHARED = {
    "hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 6, "num_key_value_heads": 2, "intermediate_size": 56,
    "vocab_size": 131, "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "tie_word_embeddings": False,
    "initializer_range": 0.3, "num_experts_per_tok": 3, "pad_token_id": None, "bos_token_id": None, "eos_token_id": None,
}  # fmt: skip
ROPE = {"rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0}}
YARN = {"rope_parameters": {
    "rope_type": "yarn", "rope_theta": 10_000.0, "factor": 4.0, "original_max_position_embeddings": 16, "beta_fast": 32, "beta_slow": 1,
    "mscale": 0.7, "mscale_all_dim": 1.0,
}}  # fmt: skip
LATENT = {
    **SHARED, "num_key_value_heads": 6, "moe_intermediate_size": 24, "n_routed_experts": 16, "n_shared_experts": 2,
    "first_k_dense_replace": 1, "q_lora_rank": 20, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 12, "v_head_dim": 10,
    "n_group": 4, "topk_group": 2, "routed_scaling_factor": 2.5, "norm_topk_prob": True,
}  # fmt: skip
QWEN = {**SHARED, **ROPE, "num_experts": 8, "moe_intermediate_size": 24}
CASES = {
    "mixtral": (transformers.MixtralForCausalLM, {**SHARED, **ROPE, "num_local_experts": 8, "head_dim": 8, "sliding_window": None}),
    "olmoe": (transformers.OlmoeForCausalLM, {**SHARED, **ROPE, "num_experts": 8}),
    "olmoe clipped": (transformers.OlmoeForCausalLM, {**SHARED, **ROPE, "num_experts": 8, "clip_qkv": 0.5}),
    "qwen2": (transformers.Qwen2MoeForCausalLM, {**QWEN, "shared_expert_intermediate_size": 40}),
    "qwen2 normalised, dense at times": (
        transformers.Qwen2MoeForCausalLM,
        {**QWEN, "shared_expert_intermediate_size": 40, "norm_topk_prob": True, "mlp_only_layers": [1]},
    ),
    "qwen3": (transformers.Qwen3MoeForCausalLM, {**QWEN, "head_dim": 16, "norm_topk_prob": True}),
    "qwen3 tied, sparse at times": (
        transformers.Qwen3MoeForCausalLM, {**QWEN, "head_dim": 16, "tie_word_embeddings": True, "decoder_sparse_step": 2},
    ),
    "deepseek": (transformers.DeepseekV3ForCausalLM, {**LATENT, **ROPE}),
    "deepseek without groups": (transformers.DeepseekV3ForCausalLM, {**LATENT, **ROPE, "n_group": 1, "topk_group": 1}),
    "deepseek, plain queries, halves": (
        transformers.DeepseekV3ForCausalLM, {**LATENT, **ROPE, "q_lora_rank": None, "rope_interleave": False},
    ),
    "deepseek, yarn, not normalised": (transformers.DeepseekV3ForCausalLM, {**LATENT, **YARN, "norm_topk_prob": False}),
}  # fmt: skip


@cache
def their_model(case: str) -> transformers.PreTrainedModel:
    """Random weights that let the gate decide clearly: norms around 1, a selection bias where there is one."""
    kind, sizes = CASES[case]
    torch.manual_seed(0)
    model = kind(kind.config_class(**sizes)).eval().requires_grad_(False)
    for name, tensor in model.state_dict().items():
        if "norm" in name or name.endswith("bias"):
            tensor.add_(torch.randn(tensor.shape) * 0.1)
        else:
            tensor.normal_(0, 0.3)
    return model


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict:
    """Each case as a folder, written once when first asked for."""
    transformers.logging.disable_progress_bar()  # its thread would outlive the test
    root, written = tmp_path_factory.mktemp("checkpoints"), {}

    def folder(case: str):
        if case not in written:
            written[case] = root / str(len(written))
            their_model(case).save_pretrained(written[case])
        return written[case]

    return folder


def ids(*shape: int, seed: int = 5) -> torch.Tensor:
    return torch.randint(0, 131, shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("case", CASES)
def test_logits_equal_transformers(case, folders):
    theirs, ours = their_model(case), load_moe(folders(case))
    for text in (ids(2, 40), ids(1, 1)):
        assert_close(ours.head(ours(text)), theirs(text).logits, WHOLE)


@pytest.mark.parametrize("case", CASES)
def test_the_layout_that_transformers_has_in_memory_gives_the_same(case, folders):
    theirs, loaded = their_model(case), load_moe(folders(case))
    family, data = FAMILIES[theirs.config.model_type], theirs.config.to_dict()
    state = theirs.state_dict()
    shapes = {name: tensor.shape for name, tensor in loaded.state_dict().items()}
    filled = dict(assemble(shapes, state, state.__getitem__, family.keymap(loaded.config, data), "test"))
    assert filled.keys() == shapes.keys()
    assert all(torch.equal(filled[name], tensor) for name, tensor in loaded.state_dict().items())


@pytest.mark.parametrize("case", CASES)
def test_cached_decoding_equals_the_full_forward(case, folders):
    ours, text = load_moe(folders(case)), ids(2, 24)
    full, cache, got, at = ours(text), ours.new_cache(batch=2), [], 0
    for cut in (9, 1, 1, 6, 7):
        got.append(ours(text[:, at : at + cut], cache))
        at += cut
    assert_close(torch.cat(got, 1), full, WHOLE)


@pytest.mark.parametrize("case", ["mixtral", "olmoe", "qwen2", "qwen3", "deepseek"])
def test_gate_decisions_equal_those_of_transformers(case, folders):
    """What the trace says was chosen, and with which weights, is what their gate hands to their experts."""
    theirs, ours, trace, text = their_model(case), load_moe(folders(case)), RoutingTrace(), ids(2, 17)
    ours(text, trace=trace)
    heard, hooks = {}, []
    for layer, block in enumerate(theirs.model.layers):
        if hasattr(block.mlp, "gate"):
            keep = lambda module, inputs, outputs, at=layer: heard.setdefault(at, outputs)  # noqa: E731
            hooks.append(block.mlp.gate.register_forward_hook(keep))
    theirs(text)
    for hook in hooks:
        hook.remove()
    assert sorted(trace.layers) == sorted(heard) == sorted(ours.gated_layers)
    for layer, (logits, weights, experts) in heard.items():
        found = trace.layers[layer]
        assert_close(found.logits.flatten(0, 1), logits, WHOLE)
        dense = torch.zeros_like(logits)
        assert_close(dense.scatter(1, found.experts.flatten(0, 1), found.weights.flatten(0, 1)), dense.scatter(1, experts, weights), WHOLE)
        assert not found.dropped.any()


def test_gradients_equal_transformers(folders):
    """Of a random projection of the logits, through experts, gate and latents."""
    theirs, ours = their_model("deepseek"), load_moe(folders("deepseek")).requires_grad_(True)
    text, weight = ids(2, 12), torch.randn(2, 12, 131, generator=torch.Generator().manual_seed(3)) / 100
    theirs.requires_grad_(True)
    (theirs(text).logits * weight).sum().backward()
    (ours.head(ours(text)) * weight).sum().backward()
    layer, block = theirs.model.layers[2], ours.blocks[2]
    pairs = [
        (block.ffn.experts.gate_up, layer.mlp.experts.gate_up_proj), (block.ffn.gate.weight, layer.mlp.gate.weight),
        (block.attention.kv_down.weight, layer.self_attn.kv_a_proj_with_mqa.weight), (ours.tokens.weight, theirs.model.embed_tokens.weight),
    ]  # fmt: skip
    for mine, other in pairs:
        assert_close(mine.grad, other.grad, WHOLE)
    theirs.requires_grad_(False).zero_grad()


# --- prediction modules ---


def test_prediction_module_equals_transformers(folders, tmp_path):
    """A file that numbers it as a further layer loads, and the module computes what `MtpLayer` does."""
    theirs = their_model("deepseek")
    torch.manual_seed(1)
    module = MtpLayer(theirs.config, their_deepseek.DeepseekV3DecoderLayer, their_deepseek.DeepseekV3RMSNorm, 2).eval()
    for name, tensor in module.requires_grad_(False).state_dict().items():
        tensor.normal_(1.0 if "norm" in name else 0.0, 0.2)
    folder = _with_prediction_module(folders("deepseek"), module, tmp_path)
    ours = load_moe(folder)
    assert ours.config.mtp_depth == 1 and load_moe(folders("deepseek")).config.mtp_depth == 0
    text = ids(2, 15)
    hidden = ours(text[:, :-1])
    positions = torch.arange(14)[None]
    turn = theirs.model.rotary_emb(hidden, positions)
    mask = torch.full((14, 14), float("-inf")).triu(1)[None, None]
    wanted = module(theirs.model.embed_tokens(text[:, 1:]), hidden, turn, mask, positions, None)
    trace = RoutingTrace()
    assert_close(ours.look_ahead(hidden, text[:, 1:], trace=trace), wanted, WHOLE)
    assert list(trace.layers) == [3]


def _with_prediction_module(source, module, target):
    """The files of `source` with the module's weights as layer 3, spelled as DeepSeek publishes them."""
    state = load_file(source / "model.safetensors")
    names = {"mtp_block.": "", "post_norm.": "shared_head.norm."}
    for name, tensor in module.state_dict().items():
        old, new = next(((a, b) for a, b in names.items() if name.startswith(a)), ("", ""))
        name = "model.layers.3." + new + name.removeprefix(old)
        if name.endswith("experts.gate_up_proj"):
            for expert, pair in enumerate(tensor):
                for part, half in zip(("gate", "up"), pair.chunk(2)):
                    state[name.replace("gate_up_proj", f"{expert}.{part}_proj.weight")] = half.contiguous()
        elif name.endswith("experts.down_proj"):
            state |= {name.replace("down_proj", f"{e}.down_proj.weight"): one.contiguous() for e, one in enumerate(tensor)}
        else:
            state[name] = tensor
    state["model.layers.3.embed_tokens.weight"] = state["model.embed_tokens.weight"].clone()
    state["model.layers.3.shared_head.head.weight"] = state["lm_head.weight"].clone()
    save_file(state, target / "model.safetensors")
    (target / "config.json").write_text((source / "config.json").read_text())
    return target


def test_only_layers_beyond_the_last_are_prediction_modules():
    names = ["model.layers.3.eh_proj.weight", "model.layers.2.mlp.gate.weight", "model.layers.30.enorm.weight", "model.norm.weight"]
    assert tell_apart(names, 3) == {
        "mtp.0.eh_proj.weight": names[0], names[1]: names[1], "mtp.27.enorm.weight": names[2], names[3]: names[3],
    }  # fmt: skip


# --- Switch ---


@pytest.mark.parametrize("places", [1, 3, 64])
def test_switch_layer_equals_transformers_with_its_capacity(places):
    theirs_config = transformers.SwitchTransformersConfig(
        d_model=24, d_ff=40, num_experts=4, expert_capacity=places, router_jitter_noise=0.0, dropout_rate=0.0
    )
    torch.manual_seed(2)
    theirs = their_switch.SwitchTransformersSparseMLP(theirs_config).eval().requires_grad_(False)
    T = 12
    config = SwitchConfig(
        dim=24, n_layers=1, n_heads=2, head_dim=12, ffn_dim=40, n_experts=4, top_k=1, capacity_factor=places * 4 / T, vocab_size=9,
        max_len=T, norm_eps=1e-6, rope_theta=1e4, tied=True,
    )  # fmt: skip
    ours = SwitchNet(config, 0).requires_grad_(False)
    ours.gate.weight.copy_(theirs.router.classifier.weight)
    for e in range(4):
        ours.experts.expand[e] = theirs.experts[f"expert_{e}"].wi.weight
        ours.experts.contract[e] = theirs.experts[f"expert_{e}"].wo.weight
    x, trace = torch.randn(3, T, 24), RoutingTrace()
    turn = RotationTable(12, 1e4, None).rows(0, T, x.device)
    assert_close(ours(x, Pass(turn, None, True, AS_IS, trace, None)), theirs(x), LAYER)
    mask, _, _ = theirs.router(x)
    assert torch.equal(~trace.layers[0].dropped[..., 0], mask.sum(-1).bool())
    assert int(trace.layers[0].dropped.sum()) == 3 * T - int(mask.sum())


# --- what is refused ---


@pytest.mark.parametrize(("case", "changes", "words"), [
    ("mixtral", {"model_type": "phimoe"}, "phimoe"),
    ("mixtral", {"num_local_experts": "many"}, "num_local_experts"),
    ("mixtral", {"num_experts_per_tok": 9}, "9 of 8 experts"),
    ("deepseek", {"scoring_func": "softmax"}, "scoring_func"),
    ("deepseek", {"n_group": 5}, "equal groups"),
    ("deepseek", {"topk_group": 0}, "equal groups"),
    ("deepseek", {"qk_rope_head_dim": 7}, "even width"),
    ("deepseek", {"quantization_config": {"quant_method": "fp8"}}, "quantization_config"),
    ("qwen2", {"decoder_sparse_step": 0}, "decoder_sparse_step"),
    ("olmoe", {"hidden_size": None}, "hidden_size"),
])  # fmt: skip
def test_a_config_that_does_not_fit_is_refused_in_a_sentence(case, changes, words):
    data = {**their_model(case).config.to_dict(), **changes}
    with pytest.raises(CheckpointError, match=words):
        config_from_json(data, "test")


def test_missing_left_over_and_wrong_weights_are_refused(folders, tmp_path):
    source = folders("mixtral")
    state = load_file(source / "model.safetensors")
    (tmp_path / "config.json").write_text((source / "config.json").read_text())
    expert = "model.layers.1.block_sparse_moe.experts.5.w1.weight"
    assert expert in state, "transformers writes the published layout"
    spoilt = [
        ({name: t for name, t in state.items() if name != expert}, "lacks blocks.1.ffn.experts.gate_up.5.gate"),
        ({**state, "model.layers.1.extra": state[expert].clone()}, "model.layers.1.extra"),
        ({**state, expert.replace("experts.5", "experts.8"): state[expert].clone()}, "experts.8"),
        ({**state, expert: state[expert][:-1].clone()}, "shapes"),
    ]
    for tensors, words in spoilt:
        save_file(tensors, tmp_path / "model.safetensors")
        with pytest.raises(CheckpointError, match=words):
            load_moe(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps([1]))
    with pytest.raises(CheckpointError, match="not an object|config.json"):
        load_moe(tmp_path)
