"""Where a tokenizer's description stands: in GGUF metadata, or in a folder beside safetensors.

GGUF keeps vocabulary, merges and kinds of tokens, but names the rule that splits texts by a word only ("smollm",
"llama-bpe"); the rules behind these words are llama.cpp's. Both sources end in the arguments of `Tokenizer`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from models.checkpoint import CheckpointError
from models.language.gguf import GgufFile
from models.language.tokenizer import BLANK, BYTE, CONTROL, LLAMA3, MAX_JSON_BYTES, QWEN2, TEKKEN, UNKNOWN, USER_DEFINED

AGAIN = "Fetch the model again."


def _split(pattern: str) -> dict:
    return {
        "type": "Sequence",
        "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
        ],
    }


BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
SINGLE_DIGITS = {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, BYTE_LEVEL]}
PRE_TOKENIZERS = {
    "default": BYTE_LEVEL, "gpt-2": BYTE_LEVEL,
    "smollm": SINGLE_DIGITS, "starcoder": SINGLE_DIGITS, "refact": SINGLE_DIGITS, "command-r": SINGLE_DIGITS,
    "llama-bpe": _split(LLAMA3), "llama3": _split(LLAMA3), "llama-v3": _split(LLAMA3), "falcon3": _split(LLAMA3),
    "smaug-bpe": _split(LLAMA3), "dbrx": _split(LLAMA3),
    "qwen2": _split(QWEN2), "deepseek-r1-qwen": _split(QWEN2), "tekken": _split(TEKKEN),
}  # fmt: skip


def describe_gguf(file: GgufFile) -> dict[str, Any]:
    """The arguments of `Tokenizer` for a GGUF file; CheckpointError if its metadata do not hold together."""
    title, kinds = file.path.name, _list(file, "token_type", int, [])
    tokens = _list(file, "tokens", str)
    if kinds and len(kinds) != len(tokens):
        raise CheckpointError(f"{title} has {len(tokens)} tokens but {len(kinds)} kinds of tokens.", AGAIN)
    if len(set(tokens)) != len(tokens):
        raise CheckpointError(f"{title} lists a token twice.", AGAIN)
    model = file.metadata.get("tokenizer.ggml.model")
    if model == "gpt2":
        description = _byte_level(file, tokens)
    elif model == "llama":
        description = _sentencepiece(file, tokens, kinds)
    else:
        raise CheckpointError(f"{title} has a tokenizer of the kind {str(model)[:40]!r}; byte-level and SentencePiece BPE are read.")
    description["added_tokens"] = [
        _added(i, text, special=kind == CONTROL)
        for i, (text, kind) in enumerate(zip(tokens, kinds))
        if text and (kind in (CONTROL, USER_DEFINED) or (kind == UNKNOWN and model == "llama"))
    ]
    ids = [file.metadata.get(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot", "eom")]
    return {
        "description": description, "title": title, "stop_ids": [i for i in ids if isinstance(i, int)],
        "bos": _token(file, tokens, "bos"), "eos": _token(file, tokens, "eos"),
    }  # fmt: skip


def _byte_level(file: GgufFile, tokens: list[str]) -> dict[str, Any]:
    pre = file.metadata.get("tokenizer.ggml.pre", "default")
    if pre not in PRE_TOKENIZERS:
        raise CheckpointError(f"{file.path.name} splits texts in the way {str(pre)[:40]!r}, which is not known here.")
    merges = _list(file, "merges", str)
    model = {
        "type": "BPE", "vocab": {text: i for i, text in enumerate(tokens)}, "merges": merges,
        "ignore_merges": PRE_TOKENIZERS[pre] in (_split(LLAMA3), _split(TEKKEN)),
    }  # fmt: skip
    decoder = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
    return {"version": "1.0", "pre_tokenizer": PRE_TOKENIZERS[pre], "decoder": decoder, "model": model}


def _sentencepiece(file: GgufFile, tokens: list[str], kinds: list[int]) -> dict[str, Any]:
    """Merges are not in the file: every way to halve a token is one, the token with the best score first."""
    scores = _list(file, "scores", float)
    if len(scores) != len(tokens):
        raise CheckpointError(f"{file.path.name} has {len(tokens)} tokens but {len(scores)} scores.", AGAIN)
    closed = {text for text, kind in zip(tokens, kinds) if kind in (CONTROL, UNKNOWN, BYTE, USER_DEFINED)}
    vocab = {text: i for i, text in enumerate(tokens)}
    model = {
        "type": "BPE", "vocab": vocab, "merges": _halves(vocab, scores, closed), "byte_fallback": True, "fuse_unk": True,
        "unk_token": next((text for text, kind in zip(tokens, kinds) if kind == UNKNOWN), None),
    }  # fmt: skip
    first = "first" if file.metadata.get("tokenizer.ggml.add_space_prefix", True) else "never"
    decoder = [
        {"type": "Replace", "pattern": {"String": BLANK}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0},
    ]  # fmt: skip
    return {
        "version": "1.0", "model": model, "decoder": {"type": "Sequence", "decoders": decoder},
        "pre_tokenizer": {"type": "Metaspace", "replacement": BLANK, "prepend_scheme": first, "split": False},
    }  # fmt: skip


def _halves(vocab: dict[str, int], scores: list[float], closed: set[str]) -> list[list[str]]:
    found = []
    for text, i in vocab.items():
        if text in closed or len(text) > MAX_PIECE:
            continue
        pairs = ((text[:cut], text[cut:]) for cut in range(1, len(text)))
        found += [
            (-scores[i], vocab[left], vocab[right], left, right)
            for left, right in pairs
            if left in vocab and right in vocab and not {left, right} & closed
        ]
    return [[left, right] for *_, left, right in sorted(found)]


MAX_PIECE = 256
"""Characters in a piece; halving longer ones would let a hostile file take quadratic time."""


def _list(file: GgufFile, name: str, kind: type, default: list | None = None) -> list:
    value = file.metadata.get(f"tokenizer.ggml.{name}", default)
    if not isinstance(value, list) or not all(type(one) is kind for one in value) or (value == [] and default is None):
        raise CheckpointError(f"{file.path.name} carries no usable list of {name} for its tokenizer.", AGAIN)
    return value


def _token(file: GgufFile, tokens: list[str], name: str) -> str:
    i = file.metadata.get(f"tokenizer.ggml.{name}_token_id")
    return tokens[i] if isinstance(i, int) and 0 <= i < len(tokens) else ""


def _added(i: int, text: str, *, special: bool) -> dict[str, Any]:
    return {
        "id": i, "content": text, "special": special,
        "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
    }  # fmt: skip


# --- a folder of Hugging Face's ---


def describe_folder(folder: Path) -> dict[str, Any]:
    """The arguments of `Tokenizer` for a folder; CheckpointError if tokenizer.json is missing or damaged."""
    description = read_json(folder / "tokenizer.json")
    config = read_json(folder / "tokenizer_config.json", optional=True)
    stops = []
    for name in ("generation_config.json", "config.json"):
        found = read_json(folder / name, optional=True).get("eos_token_id")
        stops += [i for i in (found if isinstance(found, list) else [found]) if type(i) is int]
    tokens = {name: _content(config.get(f"{name}_token")) for name in ("bos", "eos")}
    added = description.get("added_tokens") if isinstance(description, dict) else None
    for entry in added if isinstance(added, list) else []:
        if isinstance(entry, dict) and entry.get("content") == tokens["eos"]:
            stops.append(entry.get("id"))
    stops = [i for i in stops if type(i) is int]
    return {"description": description, "title": folder.name, "stop_ids": stops, "bos": tokens["bos"], "eos": tokens["eos"]}


def _content(token: Any) -> str:
    """A token is named by its text or by an object that holds it."""
    token = token.get("content") if isinstance(token, dict) else token
    return token if isinstance(token, str) else ""


def read_json(path: Path, optional: bool = False) -> dict[str, Any]:
    """An object in a JSON file of bounded size; an optional file that is missing is empty."""
    if optional and not path.is_file():
        return {}
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise CheckpointError(f"{path.name} in {path.parent.name} is too large to be a description.", AGAIN)
        data = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path.parent.name} has no {path.name}.", AGAIN) from None
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path.name} in {path.parent.name} is damaged ({str(error)[:80]}).", AGAIN) from None
    if not isinstance(data, dict):
        raise CheckpointError(f"{path.name} in {path.parent.name} is not an object.", AGAIN)
    return data
