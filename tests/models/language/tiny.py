"""Small tokenizers and model files, made on the spot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from models.language.tokenizer import BYTES

MERGES = [("h", "e"), ("l", "l"), ("he", "ll"), ("Ġ", "w"), ("hell", "o"), ("1", "2"), ("Ã", "¶"), ("ð", "Ł"), ("ðŁ", "ĺ"), ("Ċ", "Ċ")]


def byte_level_description(control: list[str], pre: dict | None = None) -> dict[str, Any]:
    """A tokenizer.json: control tokens first, then 256 bytes and a few merges."""
    texts = [*control, *BYTES, *("".join(pair) for pair in MERGES)]
    added = [
        {"id": i, "content": text, "special": True, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
        for i, text in enumerate(control)
    ]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0", "added_tokens": added, "normalizer": None, "pre_tokenizer": pre or level, "post_processor": None,
        "decoder": level, "truncation": None, "padding": None,
        "model": {"type": "BPE", "vocab": {text: i for i, text in enumerate(texts)}, "merges": [list(pair) for pair in MERGES]},
    }  # fmt: skip


def write_tokenizer(folder: Path, control: list[str], **config: Any) -> None:
    """tokenizer.json and tokenizer_config.json."""
    (folder / "tokenizer.json").write_text(json.dumps(byte_level_description(control)), "utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")


def gguf_metadata(control: list[str]) -> dict[str, Any]:
    """The tokenizer's keys of a GGUF file with the same vocabulary."""
    texts = [*control, *BYTES, *("".join(pair) for pair in MERGES)]
    return {
        "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "smollm", "tokenizer.ggml.tokens": texts,
        "tokenizer.ggml.token_type": [3] * len(control) + [1] * (len(texts) - len(control)),
        "tokenizer.ggml.merges": [" ".join(pair) for pair in MERGES], "tokenizer.ggml.eos_token_id": 1,
        "tokenizer.ggml.bos_token_id": 0, "tokenizer.chat_template": "{% for m in messages %}{{ m['content'] }}{% endfor %}",
    }  # fmt: skip


SIZES = {
    "llama.block_count": 2, "llama.context_length": 128, "llama.embedding_length": 64, "llama.feed_forward_length": 96,
    "llama.attention.head_count": 4, "llama.attention.head_count_kv": 2,
}  # fmt: skip


def write_gguf(
    path: Path, *, quantised: bool = True, changes: dict[str, Any] | None = None, drop: tuple[str, ...] = ()
) -> dict[str, np.ndarray]:
    """A LLaMA of two layers in GGUF, written by the `gguf` package; the dequantised tensors are returned."""
    from gguf import GGMLQuantizationType, GGUFWriter, quants

    metadata = {**SIZES, "llama.rope.freq_base": 10_000.0, "llama.attention.layer_norm_rms_epsilon": 1e-5, "general.name": "Tiny",
                **gguf_metadata(["<|im_start|>", "<|im_end|>"]), **(changes or {})}  # fmt: skip
    writer = GGUFWriter(path, metadata.pop("general.architecture", "llama"))
    for key, value in metadata.items():
        if key in drop or value is None:
            continue
        add = {str: writer.add_string, bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32, list: writer.add_array}
        add[type(value)](key, value)
    rng, read = np.random.default_rng(0), {}
    vocab = len(metadata.get("tokenizer.ggml.tokens") or []) or 268
    for name, shape in gguf_shapes(vocab).items():
        if name in drop:
            continue
        values = rng.normal(0, 0.3, shape).astype(np.float32) + (1.0 if "norm" in name else 0.0)
        kind = GGMLQuantizationType.Q8_0 if quantised and len(shape) == 2 else GGMLQuantizationType.F32
        data = quants.quantize(values.astype(np.float32), kind)
        read[name] = quants.dequantize(data, kind)
        writer.add_tensor(name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return read


def gguf_shapes(vocab: int) -> dict[str, tuple[int, ...]]:
    """Tensors of the tiny model, torch's order."""
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (vocab, 64), "output_norm.weight": (64,), "output.weight": (vocab, 64)}
    for i in range(2):
        layer = {
            "attn_norm": (64,), "attn_q": (64, 64), "attn_k": (32, 64), "attn_v": (32, 64), "attn_output": (64, 64),
            "ffn_norm": (64,), "ffn_gate": (96, 64), "ffn_up": (96, 64), "ffn_down": (64, 96),
        }  # fmt: skip
        shapes |= {f"blk.{i}.{name}.weight": shape for name, shape in layer.items()}
    return shapes
