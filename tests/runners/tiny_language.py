"""A language model of bytes: a tiny random LLaMA, a tokenizer with a token a byte, and a ChatML template."""

from __future__ import annotations

import torch

from models.language.chat_template import ChatTemplate
from models.language.llama import Llama, LlamaConfig
from models.language.loading import LanguageModel
from models.language.tokenizer import BYTES, Tokenizer

CONTROLS = ("<|im_start|>", "<|im_end|>")
START, END = 256, 257
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CONFIG = LlamaConfig(
    dim=16, n_layers=3, n_heads=2, n_kv_heads=1, head_dim=8, ffn_dim=32, vocab_size=264, max_len=400, norm_eps=1e-5,
    rope_theta=10_000.0, rope_scaling=None, tied=True,
)  # fmt: skip


def byte_tokenizer() -> Tokenizer:
    """Token i is byte i; 256 and 257 are the markers of ChatML."""
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    added = [
        {"id": 256 + i, "content": text, "special": True, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
        for i, text in enumerate(CONTROLS)
    ]
    model = {"type": "BPE", "vocab": {char: byte for char, byte in BYTES.items()}, "merges": []}
    description = {"version": "1.0", "added_tokens": added, "pre_tokenizer": level, "decoder": level, "model": model}
    return Tokenizer(description, stop_ids=[END], title="bytes")


def tiny_llama(seed: int = 0, config: LlamaConfig = CONFIG) -> Llama:
    """Random weights, large enough that no token is a matter of course, and small enough that greedy texts repeat themselves."""
    generator = torch.Generator().manual_seed(seed)
    model = Llama(config)
    for name, parameter in model.named_parameters():
        spread = torch.randn(parameter.shape, generator=generator) * (1.0 if "tokens" in name else 0.35)
        parameter.data = spread if parameter.dim() > 1 else torch.ones_like(parameter)
    if config.tied:
        model.unembed.weight = model.tokens.weight
    return model.eval().requires_grad_(False)


def tiny_language(seed: int = 0, config: LlamaConfig = CONFIG) -> LanguageModel:
    """Model, tokenizer and template; `format` fp32, so speculation is lossless."""
    tokenizer = byte_tokenizer()
    return LanguageModel(
        tiny_llama(seed, config), tokenizer, ChatTemplate(TEMPLATE), "tiny", "fp32", {"fp32": 1.0}, tokenizer.fingerprint, config.max_len
    )
