"""What the built-in mixture of experts reads: four domains that differ so much that experts have something to divide.

    conversation   questions and SmolLM2's answers, from an .npz of `write-conversations`
    python         the standard library of the running interpreter, a file a document
    arithmetic     sums, products, comparisons and series, made from a seed
    captions       what Playworld's scenes are called, made from a seed

Every document has a key: the first question, the file's name, the problem, the caption. A hash of the key says whether it
is held out, so what is measured is never trained on, whichever machine, seed or number of documents. `MixtureBank` keeps
the token streams of the training documents, and a byte-level BPE that was trained on them alone. Why not plain bytes: a
third of the tokens for the same text, so three times the text in a training of the same length, and views of routing that
show words; 4,096 tokens because the output matrix should not outweigh the experts that a token visits.
"""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import os
import random
import re
import sysconfig
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tokenizers
import torch
from torch import Tensor

from models.checkpoint import CheckpointError
from models.language.tokenizer import Tokenizer
from models.language.tokenizer_files import read_json
from models.playworld.caption import caption
from models.playworld.scene import sample_scene

DOMAINS = ("conversation", "python", "arithmetic", "captions")
SHARES = {"conversation": 0.4, "python": 0.3, "arithmetic": 0.15, "captions": 0.15}
"""Of the windows of a batch: the two domains that take longest to learn get most."""
HELD_OUT_ONE_IN = 20
VOCAB_SIZE = 4096
END = "<|endoftext|>"
"""Stands before every document, so a model that sees nothing else knows that one begins."""
BANK, TOKENIZER = "mixture.npz", "mixture-tokenizer.json"
PROBLEMS_A_DOCUMENT, CAPTIONS_A_DOCUMENT = 12, 8
MADE_DOCUMENTS = {"arithmetic": 20_000, "captions": 6_000}
"""Training documents of the domains that are made here; about 4 MB of text each."""
TOKENIZER_READS = 2_000_000
"""Characters of each domain that the tokenizer is trained on; more changes little and takes long."""
SAY_EVERY = 200
"""Documents between two words of progress."""
LARGEST_FILE = 200_000  # bytes; longer ones in the standard library are tables
NOT_CODE = frozenset({"site-packages", "test", "tests", "idlelib", "lib2to3", "encodings", "pydoc_data", "turtledemo", "__pycache__"})


@dataclass(frozen=True)
class Sources:
    """Where documents come from. Without `rows` there is no domain of conversations."""

    rows: np.ndarray | None = None  # (rows, T) token ids of conversations
    decode: Callable[[Sequence[int]], str] | None = None  # of the tokenizer that wrote them
    library: Path = Path(sysconfig.get_paths()["stdlib"])

    @property
    def domains(self) -> tuple[str, ...]:
        return DOMAINS if self.rows is not None else DOMAINS[1:]


def is_held_out(domain: str, key: str) -> bool:
    """Whether documents of this key are kept for measuring."""
    digest = hashlib.sha256(f"{domain}\n{key}".encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:8], "big") % HELD_OUT_ONE_IN == 0


def documents(domain: str, held_out: bool, sources: Sources, count: int) -> Iterator[str]:
    """Texts of one split, always in the same order, at most `count`."""
    makers = {"conversation": _conversations, "python": _python, "arithmetic": _arithmetic, "captions": _captions}
    for made, text in enumerate(makers[domain](held_out, sources)):
        if made == count:
            return
        yield text


# --- the domains ---

TURN = re.compile(r"<\|im_end\|>\n?(?:<\|im_start\|>(?P<role>\w+)\n?)?")


def _conversations(held_out: bool, sources: Sources) -> Iterator[str]:
    """Rows begin right after the marker of a user's turn and end anywhere: cut behind the last whole sentence."""
    for row in sources.rows:
        text = sources.decode(row.tolist())
        question = TURN.split(text, maxsplit=1)[0].strip()
        if is_held_out("conversation", question) != held_out:
            continue
        text = "User: " + TURN.sub(lambda found: f"\n{(found['role'] or 'end').capitalize()}: ", text.strip())
        end = max(text.rfind(mark) for mark in ".!?\n")
        if end > len(text) // 2:
            yield text[: end + 1]


def _python(held_out: bool, sources: Sources) -> Iterator[str]:
    for path in sorted(sources.library.rglob("*.py")):
        place = path.relative_to(sources.library)
        if NOT_CODE & set(place.parts) or is_held_out("python", place.as_posix()) != held_out:
            continue
        text = path.read_text("utf-8", errors="replace")
        if 200 <= len(text) <= LARGEST_FILE:
            yield text


def _captions(held_out: bool, sources: Sources) -> Iterator[str]:
    """Held-out captions tell of held-out scenes, too: pairs of words that no training scene shows."""
    split, rng, lines, k = ("held-out" if held_out else "train"), random.Random(f"captions {held_out}"), [], 0
    while True:
        text = caption(sample_scene(k, split), rng)[0]
        k += 1
        if is_held_out("captions", text) == held_out:
            lines.append(text)
        if len(lines) == CAPTIONS_A_DOCUMENT:
            yield "\n".join(lines) + "\n"
            lines = []


def _arithmetic(held_out: bool, sources: Sources) -> Iterator[str]:
    rng, lines = random.Random(f"arithmetic {held_out}"), []
    while True:
        key, text = rng.choice(PROBLEMS)(rng)
        if is_held_out("arithmetic", key) == held_out:
            lines.append(text)
        if len(lines) == PROBLEMS_A_DOCUMENT:
            yield "\n".join(lines) + "\n"
            lines = []


def _number(rng: random.Random, digits: int) -> int:
    return rng.randrange(10 ** rng.randint(1, digits))


def _sum(rng: random.Random) -> tuple[str, str]:
    a, b = _number(rng, 4), _number(rng, 4)
    return f"{min(a, b)}+{max(a, b)}", f"{a} + {b} = {a + b}"


def _difference(rng: random.Random) -> tuple[str, str]:
    a, b = _number(rng, 4), _number(rng, 4)
    return f"{a}-{b}", f"{a} - {b} = {a - b}"


def _product(rng: random.Random) -> tuple[str, str]:
    a, b = _number(rng, 2), _number(rng, 2)
    return f"{min(a, b)}*{max(a, b)}", f"{a} * {b} = {a * b}"


def _quotient(rng: random.Random) -> tuple[str, str]:
    a, b = _number(rng, 3), 1 + _number(rng, 1)
    return f"{a}/{b}", f"{a} / {b} = {a // b} remainder {a % b}"


def _comparison(rng: random.Random) -> tuple[str, str]:
    a, b = _number(rng, 4), _number(rng, 4)
    sign = "<" if a < b else ">" if a > b else "="
    return f"{min(a, b)}?{max(a, b)}", f"{a} {sign} {b}"


def _chain(rng: random.Random) -> tuple[str, str]:
    a, b, c = _number(rng, 2), _number(rng, 2), _number(rng, 1)
    return f"({min(a, b)}+{max(a, b)})*{c}", f"({a} + {b}) * {c} = {a + b} * {c} = {(a + b) * c}"


def _series(rng: random.Random) -> tuple[str, str]:
    start, step = _number(rng, 3), 1 + _number(rng, 2)
    return f"{start},{step}", ", ".join(str(start + i * step) for i in range(6))


PROBLEMS = (_sum, _difference, _product, _quotient, _comparison, _chain, _series)


# --- tokens ---


def train_tokenizer(texts: Sequence[str], vocab_size: int = VOCAB_SIZE) -> MixtureTokenizer:
    """A byte-level BPE with single digits; all 256 bytes are tokens, so it reads every text."""
    backend = tokenizers.Tokenizer(tokenizers.models.BPE())
    split = tokenizers.pre_tokenizers
    backend.pre_tokenizer = split.Sequence([split.Digits(individual_digits=True), split.ByteLevel(add_prefix_space=False)])
    backend.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=[END], initial_alphabet=sorted(split.ByteLevel.alphabet()), show_progress=False
    )
    backend.train_from_iterator(texts, trainer)
    return mixture_tokenizer(json.loads(backend.to_str()))


def mixture_tokenizer(source: Path | dict) -> MixtureTokenizer:
    """From the JSON beside the weights; CheckpointError if it is missing or damaged."""
    description = read_json(source) if isinstance(source, Path) else source
    return MixtureTokenizer(description, title="the built-in mixture")


class MixtureTokenizer(Tokenizer):
    """Knows its own description, to be written down, and the token that begins a document."""

    def __init__(self, description: dict, **words) -> None:
        super().__init__(description, **words)
        self.description = description
        self.end_id = self.encode(END, special=True)[0]

    def save(self, path: Path) -> None:
        _write(path, json.dumps(self.description, ensure_ascii=False).encode())


def _write(path: Path, data: bytes) -> None:
    """The old file or the new one, never half of each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(data)
    os.replace(part, path)


@dataclass(frozen=True)
class Batch:
    """Windows of one domain each: ids (B, window + 1), index of the domain (B,) in the bank's `domains`."""

    ids: Tensor
    domains: Tensor


class MixtureBank:
    """Token streams of the training documents, kept in a folder: filled once, read by every training there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.streams: dict[str, np.ndarray] = {}
        self.tokenizer: MixtureTokenizer | None = None

    @property
    def is_filled(self) -> bool:
        return (self.folder / BANK).is_file() and (self.folder / TOKENIZER).is_file()

    @property
    def domains(self) -> tuple[str, ...]:
        return tuple(self.streams)

    def open(self) -> MixtureBank:
        """Read what was filled earlier; CheckpointError if it is damaged."""
        try:
            with np.load(self.folder / BANK, allow_pickle=False) as file:
                self.streams = {domain: file[domain] for domain in DOMAINS if domain in file.files}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise CheckpointError(f"The text bank {self.folder / BANK} is damaged ({error}).", "Delete it; it is made again.") from None
        self.tokenizer = mixture_tokenizer(self.folder / TOKENIZER)
        return self

    def fill(
        self, sources: Sources, made: dict[str, int] | None = None, vocab_size: int = VOCAB_SIZE, tokenizer: MixtureTokenizer | None = None
    ) -> Iterator[str]:
        """Collect, train a tokenizer if none is given, encode; says now and then what it does, and leaves the bank open."""
        counts, texts = {**MADE_DOCUMENTS, **(made or {})}, {}
        for domain in sources.domains:
            texts[domain] = []
            for text in documents(domain, False, sources, counts.get(domain, 10**9)):
                texts[domain].append(text)
                if len(texts[domain]) % SAY_EVERY == 1:
                    yield f"collecting documents: {domain}"
        if tokenizer is None:
            yield "training the tokenizer"
            tokenizer = train_tokenizer([text for found in texts.values() for text in _sample(found)], vocab_size)
        streams = {}
        for domain, found in texts.items():
            ids: list[int] = []
            for number, text in enumerate(found):
                ids += tokenizer.end_id, *tokenizer.encode(text)
                if number % SAY_EVERY == 0:
                    yield f"encoding documents: {domain}"
            streams[domain] = np.array(ids, np.uint16)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **streams)
        tokenizer.save(self.folder / TOKENIZER)
        _write(self.folder / BANK, buffer.getvalue())
        self.streams, self.tokenizer = streams, tokenizer

    def batch(self, step: int, size: int, window: int, seed: int) -> Batch:
        """Batch `step` of a training: a function of its arguments and the streams. Every domain has its share of the windows."""
        rng = np.random.default_rng((seed, step))
        owners = np.repeat(np.arange(len(self.domains)), _parts(size, [SHARES[domain] for domain in self.domains]))
        streams = list(self.streams.values())
        starts = [rng.integers(len(streams[owner]) - window) for owner in owners]
        rows = [streams[owner][start : start + window + 1] for owner, start in zip(owners, starts)]
        return Batch(torch.from_numpy(np.stack(rows).astype(np.int64)), torch.from_numpy(owners))


def _sample(texts: Sequence[str]) -> Sequence[str]:
    """Every n-th text, so that about TOKENIZER_READS characters are read."""
    return texts[:: max(1, round(sum(map(len, texts)) / TOKENIZER_READS))]


def _parts(size: int, shares: Sequence[float]) -> list[int]:
    """Whole numbers that add up to `size`: one for everybody, the rest in proportion to the shares (largest remainders)."""
    exact = [(size - len(shares)) * share / sum(shares) for share in shares]
    parts = [1 + int(value) for value in exact]
    order = sorted(range(len(shares)), key=lambda i: exact[i] - int(exact[i]), reverse=True)
    for i in order[: size - sum(parts)]:
        parts[i] += 1
    return parts


# --- measuring ---


def held_out_windows(text: str, tokenizer: MixtureTokenizer, window: int) -> list[list[int]]:
    """A document as rows of up to window + 1 ids; each row predicts all of its ids but the first, no id twice."""
    ids = [tokenizer.end_id, *tokenizer.encode(text)]
    return [ids[at : at + window + 1] for at in range(0, len(ids) - 1, window)]


def packed_bits_per_byte(texts: Sequence[str]) -> float:
    """What xz, which learns as it goes, needs for a byte of these texts: a bound from a program that knows no language."""
    data = "\n".join(texts).encode("utf-8", "replace")
    return 8 * len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)) / len(data)
