"""The real SmolLM2: our logits and greedy texts against transformers' with the same tensors; losslessness of its format."""

import pytest
import torch
import transformers

from models.attention.signature import repeat_heads
from models.attention.softmax import softmax_weights
from models.language.chat_template import encode_chat
from models.language.formats import lossless
from models.language.loading import load_language_model
from models.nn.probe import Probe
from models.nn.rope import pairs_to_half_split

PROMPTS = ["What is the capital of France?", "Write a Python function that adds two numbers.", "Tell me a story about 3 foxes 🦊."]


@pytest.fixture(scope="module")
def exact(smollm2_path):
    """In fp32."""
    return load_language_model(smollm2_path, format="fp32", keep=False)


@pytest.fixture(scope="module")
def theirs(exact) -> transformers.LlamaForCausalLM:
    """transformers' net over the very same tensors, ours taken apart again."""
    c, ours = exact.model.config, dict(exact.model.named_parameters())
    config = transformers.LlamaConfig(
        hidden_size=c.dim, num_hidden_layers=c.n_layers, num_attention_heads=c.n_heads, num_key_value_heads=c.n_kv_heads,
        intermediate_size=c.ffn_dim, vocab_size=c.vocab_size, max_position_embeddings=c.max_len, rms_norm_eps=c.norm_eps,
        tie_word_embeddings=True, rope_parameters={"rope_type": "default", "rope_theta": c.rope_theta},
    )  # fmt: skip
    state = {"model.embed_tokens.weight": ours["tokens.weight"], "model.norm.weight": ours["norm_out.weight"]}
    for i in range(c.n_layers):
        layer, block = f"model.layers.{i}.", f"blocks.{i}."
        q, k, v = ours[block + "qkv.weight"].split([c.n_heads * c.head_dim, *[c.n_kv_heads * c.head_dim] * 2])
        gate, up = ours[block + "gate_up.weight"].chunk(2)
        state |= {
            layer + "self_attn.q_proj.weight": pairs_to_half_split(q, c.n_heads),
            layer + "self_attn.k_proj.weight": pairs_to_half_split(k, c.n_kv_heads),
            layer + "self_attn.v_proj.weight": v, layer + "self_attn.o_proj.weight": ours[block + "out.weight"],
            layer + "mlp.gate_proj.weight": gate, layer + "mlp.up_proj.weight": up,
            layer + "mlp.down_proj.weight": ours[block + "down.weight"],
            layer + "input_layernorm.weight": ours[block + "attention_norm.weight"],
            layer + "post_attention_layernorm.weight": ours[block + "ffn_norm.weight"],
        }  # fmt: skip
    state["lm_head.weight"] = ours["tokens.weight"]
    with torch.device("meta"):
        model = transformers.LlamaForCausalLM(config)
    model.load_state_dict(state, strict=True, assign=True)
    model.model.rotary_emb = type(model.model.rotary_emb)(config)  # its table was on meta
    model.tie_weights()
    return model.eval().requires_grad_(False)


def prompt(language, text: str) -> list[int]:
    return encode_chat(language.tokenizer, language.template, [{"role": "user", "content": text}])


def greedy(language, ids: list[int], n: int) -> list[int]:
    cache, out = language.model.new_cache(1024), []
    logits, _ = language.model.step(torch.tensor(ids), cache, last_only=True)
    for _ in range(n):
        out.append(int(logits[-1].argmax()))
        logits, _ = language.model.step(torch.tensor(out[-1:]), cache)
    return out


def test_logits_equal_transformers(exact, theirs):
    ids = torch.tensor([prompt(exact, " ".join(PROMPTS))])
    ours, wanted = exact.model.head(exact.model(ids)), theirs(ids).logits
    assert (ours - wanted).abs().max() < 1e-4
    assert torch.equal(ours.argmax(-1), wanted.argmax(-1))


def test_fifty_greedy_tokens_are_transformers(exact, theirs):
    ids = prompt(exact, PROMPTS[1])
    wanted = theirs.generate(
        torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), max_new_tokens=50, do_sample=False, eos_token_id=None
    )[0, len(ids) :]  # fmt: skip
    assert greedy(exact, ids, 50) == wanted.tolist()


def test_attention_of_every_layer_equals_transformers_eager(exact, theirs):
    ids, probe, chosen = torch.tensor([prompt(exact, " ".join(PROMPTS))]), Probe("q", "k"), theirs.config._attn_implementation
    exact.model(ids, probe=probe)
    theirs.set_attn_implementation("eager")
    try:
        wanted = theirs(ids, output_attentions=True).attentions
    finally:
        theirs.set_attn_implementation(chosen)
    assert len(wanted) == 30
    for layer, other in enumerate(wanted):
        q, k = (side[layer].transpose(1, 2) for side in (probe.q, probe.k))
        ours = softmax_weights(q, repeat_heads(k, 9))
        assert (ours - other).abs().max() < 1e-5 and (ours.sum(-1) - 1).abs().max() < 1e-5


def test_it_answers(smollm2):
    ids = greedy(smollm2, prompt(smollm2, PROMPTS[0]), 12)
    stop = next(at for at, token in enumerate(ids) if token in smollm2.tokenizer.stop_ids)
    assert smollm2.tokenizer.decode(ids[:stop]) == "The capital of France is Paris."


def test_the_format_of_this_machine_checks_as_it_steps(smollm2):
    ids = torch.tensor(prompt(smollm2, PROMPTS[1]))
    cache, single = smollm2.model.new_cache(), []
    for token in ids:
        single.append(smollm2.model.step(token[None], cache)[0])
    assert lossless(smollm2.format)
    cache.crop(len(ids) - 6)
    together, _ = smollm2.model.step(ids[-6:], cache)
    assert (together - torch.cat(single[-6:])).abs().max() < 1e-3
    assert torch.equal(together.argmax(-1), torch.cat(single[-6:]).argmax(-1))


def test_packed_logits_stay_near_fp32(smollm2, exact):
    """KL divergence of the next-token laws, the mean over a prompt, in nats."""
    ids = torch.tensor([prompt(exact, PROMPTS[2])])
    laws = [language.model.head(language.model(ids))[0].log_softmax(-1) for language in (exact, smollm2)]
    divergence = (laws[0].exp() * (laws[0] - laws[1])).sum(-1).mean()
    assert divergence < 1e-4


def test_the_packed_format_is_transformers_with_rounded_weights(smollm2, theirs):
    """fp16-fbgemm computes in fp32 with weights rounded to fp16, nothing more. Last: it rounds the weights of `theirs`."""
    if smollm2.format != "fp16-fbgemm":
        pytest.skip("this processor has no FBGEMM")
    weights = {id(weight): weight for name, weight in theirs.named_parameters() if "norm" not in name}
    for weight in weights.values():
        weight.copy_(weight.half())
    ids = torch.tensor([prompt(smollm2, " ".join(PROMPTS))])
    ours, wanted = smollm2.model.head(smollm2.model(ids)), theirs(ids).logits
    assert (ours - wanted).abs().max() < 2e-3
    assert torch.equal(ours.argmax(-1), wanted.argmax(-1))
