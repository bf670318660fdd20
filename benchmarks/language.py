"""Is our SmolLM2 fast? Loading, prefill and decoding against transformers' `generate` and llama.cpp, in turn, one process.

The same file for all three: ours in the number format it chooses here, transformers' LlamaForCausalLM in fp32 over the same tensors,
llama.cpp through the `xllamacpp` wheel if it is installed (`pip install xllamacpp`; it computes on the quantised blocks themselves).
Decoding is the time of a long reply minus that of a reply of one token, so prefill cancels. Wall time by default; on a machine that
does other work, `--clock cpu` counts the processor seconds of this process instead. Pin it for steady figures: `taskset -c 0`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import report
import torch

from models import catalog
from models.language.chat_template import encode_chat
from models.language.loading import LanguageModel, load_language_model
from models.nn.rope import pairs_to_half_split

QUESTION = "Tell me a story about a fox."
Reply = Callable[[list[int], int], None]
"""Read a prompt and write n tokens greedily, never stopping."""


def ours(language: LanguageModel) -> Reply:
    def reply(prompt: list[int], n: int) -> None:
        with torch.no_grad():
            cache = language.model.new_cache(len(prompt) + n)
            logits, _ = language.model.step(torch.tensor(prompt), cache, last_only=True)
            for _ in range(n - 1):
                logits, _ = language.model.step(logits[-1].argmax(keepdim=True), cache)

    return reply


def theirs(path: Path) -> Reply:
    import transformers

    exact = load_language_model(path, format="fp32").model
    c = exact.config
    with torch.device("meta"):
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(
            hidden_size=c.dim, num_hidden_layers=c.n_layers, num_attention_heads=c.n_heads, num_key_value_heads=c.n_kv_heads,
            intermediate_size=c.ffn_dim, vocab_size=c.vocab_size, max_position_embeddings=c.max_len, rms_norm_eps=c.norm_eps,
            tie_word_embeddings=True, rope_parameters={"rope_type": "default", "rope_theta": c.rope_theta},
        ))  # fmt: skip
    model.load_state_dict(their_tensors(dict(exact.named_parameters()), c), strict=True, assign=True)
    model.model.rotary_emb = type(model.model.rotary_emb)(model.config)  # its table was made without memory
    model.tie_weights()
    model.eval().requires_grad_(False)

    def reply(prompt: list[int], n: int) -> None:
        ids = torch.tensor([prompt])
        model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=n, do_sample=False, eos_token_id=None)

    return reply


def their_tensors(state: dict[str, torch.Tensor], c) -> dict[str, torch.Tensor]:
    """Our fused matrices taken apart, in transformers' names and order of rotary features."""
    taken = {"model.embed_tokens.weight": state["tokens.weight"], "lm_head.weight": state["tokens.weight"],
             "model.norm.weight": state["norm_out.weight"]}  # fmt: skip
    for i in range(c.n_layers):
        layer, block = f"model.layers.{i}.", f"blocks.{i}."
        q, k, v = state[block + "qkv.weight"].split([c.n_heads * c.head_dim, *[c.n_kv_heads * c.head_dim] * 2])
        gate, up = state[block + "gate_up.weight"].chunk(2)
        parts = {
            "self_attn.q_proj": pairs_to_half_split(q, c.n_heads), "self_attn.k_proj": pairs_to_half_split(k, c.n_kv_heads),
            "self_attn.v_proj": v, "self_attn.o_proj": state[block + "out.weight"], "mlp.gate_proj": gate, "mlp.up_proj": up,
            "mlp.down_proj": state[block + "down.weight"], "input_layernorm": state[block + "attention_norm.weight"],
            "post_attention_layernorm": state[block + "ffn_norm.weight"],
        }  # fmt: skip
        taken |= {f"{layer}{name}.weight": tensor for name, tensor in parts.items()}
    return taken


def llama_cpp(path: Path, threads: int) -> Reply | None:
    try:
        import xllamacpp
    except ImportError:
        print("xllamacpp is not installed: no comparison with llama.cpp")
        return None
    params = xllamacpp.CommonParams()
    params.model.path, params.n_ctx, params.n_parallel, params.verbosity = str(path), 2048, 1, 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    server = xllamacpp.Server(params)

    def reply(prompt: list[int], n: int) -> None:
        server.handle_completions({"prompt": prompt, "n_predict": n, "temperature": 0, "ignore_eos": True, "cache_prompt": False})

    return reply


def measure(replies: dict[str, Reply], prompt: list[int], options) -> dict[str, dict[str, list[float]]]:
    """Tokens a second of decoding and prefill, every engine in turn, the order turned round each time."""
    clock = time.process_time if options.clock == "cpu" else time.perf_counter

    def seconds(reply: Reply, ids: list[int], n: int) -> float:
        begin = clock()
        reply(ids, n)
        return clock() - begin

    speeds: dict[str, dict[str, list[float]]] = {name: {"decoding": [], "prefill": []} for name in replies}
    long = (prompt * options.prefill)[: options.prefill]
    for reply in replies.values():
        reply(prompt, 4)
    for turn in range(options.repeat):
        for name in list(replies)[:: 1 if turn % 2 == 0 else -1]:
            whole, first = seconds(replies[name], prompt, options.tokens + 1), seconds(replies[name], prompt, 1)
            speeds[name]["decoding"].append(options.tokens / (whole - first))
            speeds[name]["prefill"].append(options.prefill / seconds(replies[name], long, 1))
    return speeds


def verify_cost(language: LanguageModel, prompt: list[int], repeat: int) -> None:
    """Time of a pass over k tokens, in passes over one: what speculative decoding lives on."""
    taken: dict[int, list[float]] = {k: [] for k in (1, 2, 3, 4, 5, 6, 8, 12, 16)}
    with torch.no_grad():
        cache = language.model.new_cache(1024)
        language.model.step(torch.tensor((prompt * 100)[:100]), cache)
        for _ in range(10 * repeat):
            for k, times in taken.items():
                begin = time.perf_counter()
                language.model.step(torch.tensor(prompt[:k]), cache)
                times.append(time.perf_counter() - begin)
                cache.crop(100)
    one = np.median(taken[1])
    print("pass over k tokens / over 1:", "  ".join(f"{k}: {np.median(times) / one:.2f}" for k, times in taken.items()))


def loading(path: Path, repeat: int) -> None:
    times = []
    for _ in range(repeat):
        begin = time.perf_counter()
        language = load_language_model(path)
        times.append(time.perf_counter() - begin)
    print("loading from the cache:", report.spread(times, "s"))
    firsts, ask = [], [{"role": "user", "content": QUESTION}]
    for _ in range(repeat):
        begin = time.perf_counter()
        ours(language)(encode_chat(language.tokenizer, language.template, ask), 1)
        firsts.append(time.perf_counter() - begin)
    print("first token of a short chat:", report.spread(firsts, "s"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="a GGUF file (default: SmolLM2 in the model folder)")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=64, help="tokens of a reply")
    parser.add_argument("--prefill", type=int, default=256, help="tokens of the long prompt")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    path = options.model or Path(os.environ.get("GLASSBOX_SMOLLM2") or catalog.spec("smollm2").path)
    report.heading("Language model", options.threads)
    begin = time.perf_counter()
    language = load_language_model(path)
    print(f"{language.name} in {language.format}, loaded in {time.perf_counter() - begin:.2f} s; ms a token by format: {language.formats}")
    loading(path, options.repeat)
    prompt = encode_chat(language.tokenizer, language.template, [{"role": "user", "content": QUESTION}])
    replies = {"ours": ours(language), "transformers": theirs(path), "llama.cpp": llama_cpp(path, options.threads)}
    speeds = measure({name: reply for name, reply in replies.items() if reply}, prompt, options)
    for what in ("decoding", "prefill"):
        for name, found in speeds.items():
            print(f"{what:9} {name:13} {report.spread(found[what], 'tokens/s')}")
        for name in list(speeds)[1:]:
            print(f"{what:9} ours / {name}: {report.ratio(speeds['ours'][what], speeds[name][what])}")
    verify_cost(language, prompt, options.repeat)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
