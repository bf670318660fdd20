"""Text to token ids and back: byte-pair encoding by the `tokenizers` package, from GGUF metadata or tokenizer.json.

Two kinds are read: byte-level BPE (GPT-2's: every token is a string of bytes, spelled in 256 printable characters) and
SentencePiece BPE (LLaMA 1 and 2: a blank is spelled as U+2581, bytes without a token of their own as <0x0A>). Both are
brought into the one form of tokenizer.json, checked part by part, and only then handed to the package.

Decoding is done here, in bytes, so that a text can grow token by token: a piece holds back the bytes of a character
that is not complete. Rules: lone surrogates are read as U+FFFD; bytes for which a vocabulary has no token are left out,
as the published tokenizers do; control tokens typed by a user stay text unless `special=True`.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import tokenizers

from models.checkpoint import CheckpointError
from models.language.gguf import GgufFile

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
PATTERNS = frozenset({GPT2, LLAMA3, QWEN2, TEKKEN, r"\p{N}", r"\p{N}{1,3}", r"\d", r"[0-9]", " "})
"""Patterns by which texts are split. Others are refused: a pattern can be made to take forever."""

BLANK = "\u2581"
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
"""Kinds of tokens in a GGUF file."""
STOP_NAMES = (
    "<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end_of_text|>", "<|eom_id|>", "</s>", "<|end|>", "<|eot|>",
)  # fmt: skip
MAX_JSON_BYTES = 64 * 2**20
MAX_ADDED = 20_000
"""Tokens with a name that is matched whole; published vocabularies have up to some thousand."""


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's spelling: printable Latin-1 characters stand for themselves, the other bytes for U+0100 on."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + i): byte for i, byte in enumerate(others)}


BYTES = _byte_alphabet()


def clean(text: str) -> str:
    """The text as it can be written in UTF-8: split surrogate pairs are joined, lone surrogates become U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


class Tokenizer:
    """A vocabulary with its rules. `stop_ids` end a reply; `bos`, `eos` are the texts a chat template asks for."""

    def __init__(self, description: dict[str, Any], *, stop_ids: Iterable[int] = (), bos: str = "", eos: str = "", title: str = "") -> None:
        """`description` is the content of a tokenizer.json; raises CheckpointError if a part of it is not known."""
        self._byte_level = _check(description, title)
        self._backend = _build(description, title)
        added = description.get("added_tokens") or []
        self._texts = _table(description["model"]["vocab"], added, title)
        self._added_ids = frozenset(entry["id"] for entry in added)
        self._control_ids = {entry["content"]: entry["id"] for entry in added if entry["special"]}
        self._swallows = {entry["id"]: (entry.get("lstrip", False), entry.get("rstrip", False)) for entry in added}
        names = sorted(map(re.escape, self._control_ids), key=len, reverse=True)
        self._control = re.compile("|".join(names) or r"(?!)")
        self.special_ids = frozenset(self._control_ids.values())
        self.bos, self.eos = bos, eos
        named = {i for text, i in self._control_ids.items() if text in STOP_NAMES}
        self.stop_ids = frozenset(i for i in stop_ids if 0 <= i < len(self._texts)) | named
        self._inner = self._without_first_blank(description, title)

    def _without_first_blank(self, description: dict[str, Any], title: str) -> tokenizers.Tokenizer:
        """The rules for text that does not begin the whole: SentencePiece's blank stands before the first word only."""
        first = description.get("pre_tokenizer") or {}
        if first.get("type") != "Metaspace" or first.get("prepend_scheme") != "first":
            return self._backend
        return _build({**description, "pre_tokenizer": {**first, "prepend_scheme": "never"}}, title)

    @classmethod
    def from_gguf(cls, path: Path | str | GgufFile) -> Tokenizer:
        """From the metadata of a GGUF file."""
        from models.language.tokenizer_files import describe_gguf

        return cls(**describe_gguf(path if isinstance(path, GgufFile) else GgufFile(path)))

    @classmethod
    def from_folder(cls, path: Path | str) -> Tokenizer:
        """From tokenizer.json, and the tokens that tokenizer_config.json and generation_config.json name."""
        from models.language.tokenizer_files import describe_folder

        return cls(**describe_folder(Path(path)))

    @property
    def special_texts(self) -> list[str]:
        """Names of the control tokens."""
        return list(self._control_ids)

    @property
    def vocab_size(self) -> int:
        """Number of ids that have a token."""
        return len(self._texts)

    @cached_property
    def fingerprint(self) -> str:
        """Equal for equal vocabularies: only then may one model draft for the other."""
        content = json.dumps([self._texts, sorted(self.special_ids)], ensure_ascii=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def encode(self, text: str, special: bool = False) -> list[int]:
        """Token ids of a text; names of control tokens in it are plain text unless `special`."""
        return self.encode_parts(self.split_control(text) if special else [text])

    def split_control(self, text: str) -> list[str | int]:
        """The text cut at names of control tokens, which become ids."""
        parts: list[str | int] = []
        at = 0
        for match in self._control.finditer(text):
            token = self._control_ids[match[0]]
            before, after = self._swallows[token]
            piece = text[at : match.start()]
            parts += [piece.rstrip() if before else piece, token]
            at = match.end()
            while after and at < len(text) and text[at].isspace():
                at += 1
        return [part for part in [*parts, text[at:]] if part != ""]

    def encode_parts(self, parts: Iterable[str | int]) -> list[int]:
        """Ids of texts, in which nothing is a control token, and of control tokens given as ids."""
        ids: list[int] = []
        for place, part in enumerate(parts):
            ids += [part] if isinstance(part, int) else self._encode_text(clean(part), at_start=place == 0)
        return ids

    def _encode_text(self, text: str, at_start: bool) -> list[int]:
        backend = self._backend if at_start else self._inner
        ids = backend.encode(text, add_special_tokens=False).ids
        if self.special_ids.isdisjoint(ids):
            return ids
        return [i for char in text for i in backend.encode(char, add_special_tokens=False).ids if i not in self.special_ids]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of the ids, control tokens by their names; bytes that are no UTF-8 become U+FFFD."""
        return "".join(self.pieces(ids))

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """The text that each id adds; their sum is `decode(ids)`. Incomplete characters appear with their last byte."""
        stream = self.stream()
        pieces = [stream.push(token) for token in ids]
        if rest := stream.end():
            pieces[-1] += rest
        return pieces

    def stream(self) -> TextStream:
        """Decodes a reply while it is written: `push(id)` gives what is new, `end()` what was held back."""
        return TextStream(self)

    def token_text(self, token: int) -> str:
        """One token for people: its text; bytes that are no whole characters as <E2 80>."""
        data = self.token_bytes(token)
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            return f"<{data.hex(' ').upper()}>"

    def token_bytes(self, token: int) -> bytes:
        """What a token adds to a text; empty for ids beyond the vocabulary, which padded embeddings have."""
        if not 0 <= token < len(self._texts):
            return b""
        text = self._texts[token]
        if token in self._added_ids:
            return text.encode("utf-8")
        if self._byte_level:
            return bytes(BYTES[char] for char in text) if set(text) <= BYTES.keys() else text.encode("utf-8")
        if len(text) == 6 and text.startswith("<0x") and text.endswith(">"):
            return bytes([int(text[3:5], 16)])
        return text.replace(BLANK, " ").encode("utf-8")

    @property
    def drops_first_blank(self) -> bool:
        """SentencePiece puts a blank before a text; decoding takes it away."""
        return not self._byte_level


class TextStream:
    """Bytes of tokens to text, piece by piece."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._at_start = tokenizer.drops_first_blank

    def push(self, token: int) -> str:
        """The text that this token completes."""
        data = self._tokenizer.token_bytes(token)
        if self._at_start and data:
            data = data.removeprefix(b" ")
            self._at_start = False
        return self._decoder.decode(data)

    def end(self) -> str:
        """What is left: U+FFFD for a character that was never completed."""
        return self._decoder.decode(b"", final=True)


def _build(description: dict[str, Any], title: str) -> tokenizers.Tokenizer:
    """The package's tokenizer, which takes everything for text."""
    try:
        backend = tokenizers.Tokenizer.from_str(json.dumps(description))
    except Exception as error:  # the package raises plain Exception
        raise CheckpointError(f"The tokenizer of {title} is damaged ({str(error)[:120]}).", "Fetch it again.") from None
    backend.no_truncation()
    backend.no_padding()
    backend.encode_special_tokens = True
    return backend


def _table(vocab: dict[str, int], added: list[dict], title: str) -> list[str]:
    """Texts by id; a vocabulary must use every id from 0 on once, gaps are empty texts."""
    ids = [*vocab.values(), *(entry["id"] for entry in added)]
    if not ids or min(ids) < 0 or max(ids) >= 2 * len(ids) + 256:
        raise CheckpointError(f"The token ids of {title} do not fit {len(ids)} tokens.", "Fetch the tokenizer again.")
    texts = [""] * (max(ids) + 1)
    for text, i in vocab.items():
        texts[i] = text
    for entry in added:
        texts[entry["id"]] = entry["content"]
    return texts


# --- what a tokenizer.json may contain ---

PLAIN_PARTS = {
    "normalizer": {"NFC", "NFKC", "NFD", "NFKD"},
    "pre_tokenizer": {"ByteLevel", "Digits", "Metaspace"},
    "decoder": {"ByteLevel", "ByteFallback", "Fuse", "Metaspace"},
}


def _check(description: Any, title: str) -> bool:
    """Whether it is byte-level; CheckpointError if a part is unknown, oversized or inconsistent."""

    def refuse(what: str) -> None:
        raise CheckpointError(f"The tokenizer of {title} {what}, which is not read.", "Only byte-level and SentencePiece BPE are.")

    if not isinstance(description, dict) or not isinstance(model := description.get("model"), dict):
        refuse("is no object with a model")
    vocab, merges = model.get("vocab"), model.get("merges")
    if model.get("type", "BPE") != "BPE" or not isinstance(vocab, dict) or not isinstance(merges, list):
        refuse(f"is of type {str(model.get('type'))[:40]!r}")
    if not all(type(i) is int for i in vocab.values()):
        refuse("has ids that are no whole numbers")
    added = description.get("added_tokens") or []
    if not isinstance(added, list) or len(added) > MAX_ADDED:
        refuse(f"has more than {MAX_ADDED} added tokens, or no list of them")
    for entry in added:
        _check_added(entry, refuse)
    for place, plain in PLAIN_PARTS.items():
        for part in _parts(description.get(place), refuse):
            _check_part(place, part, plain, refuse)
    kinds = {part["type"] for part in _parts(description.get("decoder"), refuse)}
    if not kinds:
        refuse("does not say how to decode")
    return "ByteLevel" in kinds


def _check_added(entry: Any, refuse) -> None:
    if not isinstance(entry, dict) or type(entry.get("id")) is not int or not isinstance(entry.get("content"), str):
        refuse("has an added token without id or text")
    if not entry["content"] or len(entry["content"]) > 200 or not isinstance(entry.get("special"), bool):
        refuse(f"has the added token {entry['content'][:40]!r}")


def _parts(part: Any, refuse) -> list[dict]:
    """The parts of a sequence, or the one part."""
    if part is None:
        return []
    if not isinstance(part, dict) or not isinstance(part.get("type"), str):
        refuse("has a part without a type")
    if part["type"] != "Sequence":
        return [part]
    inner = next((value for value in part.values() if isinstance(value, list)), [])
    if any(isinstance(one, dict) and one.get("type") == "Sequence" for one in inner):
        refuse("nests its parts")
    return [found for one in inner for found in _parts(one, refuse)]


def _check_part(place: str, part: dict, plain: set[str], refuse) -> None:
    kind = part["type"]
    if kind in plain:
        return
    if kind == "Split" and place == "pre_tokenizer":
        pattern = part.get("pattern")
        text = next(iter(pattern.values()), None) if isinstance(pattern, dict) and len(pattern) == 1 else None
        if text not in PATTERNS:
            refuse(f"splits texts by the unknown pattern {str(text)[:60]!r}")
    elif kind in ("Replace", "Prepend", "Strip") and place in ("normalizer", "decoder"):
        if len(json.dumps(part)) > 120:
            refuse(f"has a long {kind} step")
    else:
        refuse(f"has a step {kind[:40]!r}")
