"""Small models of known law: a table for statistics, a tiny random LLaMA for caches, masks and positions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from models.decoding.draft_length import FixedLength
from models.decoding.drafting import Drafter
from models.decoding.generate import Generation
from models.decoding.sampling import SamplingConfig
from models.language.llama import Llama, LlamaConfig
from models.steps import Round

V = 8


class ListCache:
    """Remembers the tokens themselves."""

    def __init__(self) -> None:
        self.tokens: list[int] = []

    @property
    def length(self) -> int:
        return len(self.tokens)

    def crop(self, n: int) -> None:
        assert n <= len(self.tokens)
        del self.tokens[n:]

    def keep(self, start: int, rows: Sequence[int]) -> None:
        self.tokens[start:] = [self.tokens[start + row] for row in rows]


class TableNet:
    """The next token depends on the last one only: logits are a row of a table (V, V); the state is the token as one-hot."""

    def __init__(self, logits: Tensor) -> None:
        self.table = logits

    def new_cache(self, max_len: int) -> ListCache:
        return ListCache()

    def step(self, ids, cache, *, positions=None, mask=None, last_only=False):
        cache.tokens.extend(ids.tolist())
        rows = self.table[ids]
        return (rows[-1:] if last_only else rows), torch.eye(len(self.table))[ids]


def table(seed: int, sharpness: float = 1.5) -> Tensor:
    return sharpness * torch.randn(V, V, generator=torch.Generator().manual_seed(seed))


TINY = LlamaConfig(
    dim=32, n_layers=3, n_heads=4, n_kv_heads=2, head_dim=8, ffn_dim=64, vocab_size=40, max_len=512,
    norm_eps=1e-5, rope_theta=10_000.0, rope_scaling=None, tied=True,
)  # fmt: skip


def tiny_llama(seed: int = 0, config: LlamaConfig = TINY, spread: float = 0.25) -> Llama:
    """Random, with logits spread enough that the text does not stand still."""
    net = Llama(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if "norm" not in name:
                parameter.normal_(0, spread, generator=generator)
    return net.requires_grad_(False)


def decode(net, drafter: Drafter, prompt: Sequence[int], sampling: SamplingConfig | None = None, length=3, tokens: int = 40, **options):
    """All rounds of a text, and the text itself."""
    length = FixedLength(length) if isinstance(length, int) else length
    run = Generation(net, prompt, drafter, sampling or SamplingConfig(), length, max_new_tokens=tokens, context=512, **options)
    rounds: list[Round] = list(run.rounds())
    assert run.cache.length == len(run.ids) - 1, "the cache must hold the text but for its last token"
    assert [token.token for done in rounds for token in done.committed] == run.ids[len(prompt) :]
    return rounds, run


def text(rounds: Sequence[Round]) -> list[int]:
    return [token.token for done in rounds for token in done.committed]
