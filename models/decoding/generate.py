"""Decoding as a generator of rounds: draft, verify in one pass of the target, commit; without a drafter a round is one token.

arXiv 2211.17192, algorithm 1, for any drafter, chain or tree, and any rule of `models/decoding/speculative.py`. Nothing torch-wide stays
open across a yield. Between rounds drafter, sampling and draft length may be changed. At temperature 0 the text is that of plain decoding,
token for token; above, it has the same law (but for typical acceptance), and equal draws and draft lengths give an equal text.
Read next: `models/decoding/drafting.py`, `models/decoding/counters.py`.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from models.decoding.draft_length import Adaptive, FixedLength, LengthPolicy
from models.decoding.drafting import Cache, Context, Draft, Drafter, LanguageNet, NoDrafter
from models.decoding.sampling import RawFacts, SamplingConfig, law, likeliest, penalised, raw_facts, uniform, where_doubles_are
from models.decoding.speculative import Typical, Verdict, verify_chosen, verify_drawn, verify_greedy, verify_typical
from models.decoding.tree import depths, path_to, tree_mask, tree_positions
from models.steps import Committed, Drafted, Round

PREFILL_CHUNK = 256
Reason = Literal["stop", "length", "context"]


@dataclass
class Generation:
    """One text in the making. `prefill()` first, then `rounds()`; both are generators, to be run in turn with anything else."""

    net: LanguageNet
    prompt_ids: Sequence[int]
    drafter: Drafter
    sampling: SamplingConfig
    length: LengthPolicy
    stop_ids: Collection[int] = ()
    max_new_tokens: int = 256
    context: int = 2048  # most tokens the net can hold
    top: int = 5
    cache: Cache | None = None  # of an earlier text that began alike; `cached_ids` says what it holds
    cached_ids: Sequence[int] = ()
    device: torch.device | str = "cpu"

    def __post_init__(self) -> None:
        if not self.prompt_ids:
            raise ValueError("a text needs at least one token to begin with")
        if len(self.prompt_ids) >= self.context:
            raise ValueError(f"the prompt has {len(self.prompt_ids)} tokens, and with one more the limit is {self.context}")
        self.ids = list(self.prompt_ids)
        self.hidden: Tensor | None = None  # (dim,) at the last token the target has read
        self._count = 0
        self._seen: Tensor | None = None  # (V,) bool, the tokens of the text, if a penalty needs them
        self._vocab: int | None = None
        if self.cache is None:
            self.cache = self.net.new_cache(self.context)
        self.reused = self._reuse()

    def _reuse(self) -> int:
        """Crop a given cache to the beginning that both texts share, one token short so that a hidden state is computed."""
        shared = 0
        for ours, theirs in zip(self.ids[: max(0, len(self.ids) - 2)], self.cached_ids):
            if ours != theirs:
                break
            shared += 1
        shared = min(shared, self.cache.length)
        self.cache.crop(shared)
        return shared

    @property
    def new_tokens(self) -> int:
        return len(self.ids) - len(self.prompt_ids)

    def prefill(self, chunk: int = PREFILL_CHUNK) -> Iterator[tuple[int, int]]:
        """Read the prompt but for its last token, yielding (tokens read, tokens to read) after each chunk."""
        total = len(self.ids) - 1
        while self.cache.length < total:
            self._read(self.cache.length, min(self.cache.length + chunk, total))
            yield self.cache.length, total

    @torch.no_grad()
    def _read(self, start: int, end: int) -> None:
        ids = self.ids[start:end]
        logits, hidden = self.net.step(self._tensor(ids), self.cache, last_only=True)
        self._vocab = logits.shape[-1]
        self.drafter.observe(start, ids, hidden)
        self.hidden = hidden[-1]

    def rounds(self) -> Iterator[Round]:
        """Decode until a stop token, `max_new_tokens` or the end of the context; the last round says which it was."""
        for _ in self.prefill():
            pass
        reason: Reason | None = None
        while reason is None:
            done = self._round()
            reason = done.reason
            yield done

    @torch.no_grad()
    def _round(self) -> Round:
        began = time.perf_counter()
        base = self.cache.length  # == len(ids) - 1
        draft = self._draft()
        drafted_at = time.perf_counter()
        logits, hidden = self._verify(draft)                                # (n + 1, V), (n + 1, dim)
        verdict = self._judge(draft, logits)
        verified_at = time.perf_counter()
        room = min(self.max_new_tokens - self.new_tokens, self.context - len(self.ids))
        tokens, reason = self._cut([*(draft.tokens[node] for node in verdict.path), verdict.token], room)
        path_rows = [0, *(node + 1 for node in verdict.path)][: len(tokens)]
        facts = raw_facts(logits if path_rows == list(range(len(logits))) else logits[path_rows], self.top)
        committed = self._committed(tokens, draft, verdict, facts)
        drafted = self._drafted(draft, verdict, facts, len(tokens))
        self._take(base, tokens, path_rows, hidden)
        self.length.learn(draft, [fate_of(node.fate) for node in drafted], drafted_at - began, verified_at - drafted_at)
        self._count += 1
        return Round(
            index=self._count - 1, drafter=self.drafter.name, draft_length=max((node.depth for node in drafted), default=0),
            position=base + 1, drafted=drafted, committed=committed,
            draft_s=drafted_at - began, verify_s=verified_at - drafted_at, other_s=time.perf_counter() - verified_at,
            lossless=self._typical is None, reason=reason,
        )  # fmt: skip

    # --- the parts of a round ---

    def _draft(self) -> Draft:
        limit = self.context - len(self.ids)
        if self.sampling.greedy:  # what lies behind the last token is in vain; above T = 0 it would still change which draw decides
            limit = min(limit, self.max_new_tokens - self.new_tokens - 1)
        if limit <= 0 or isinstance(self.drafter, NoDrafter):
            return Draft()
        if self.sampling.repetition_penalty != 1 and self._vocab is None:
            return Draft()
        budget = self.length.begin(self.drafter.name, limit)
        return self.drafter.propose(Context(self.ids, self.cache, self.hidden, self.sampling, self._seen_tokens(), budget))

    def _verify(self, draft: Draft) -> tuple[Tensor, Tensor]:
        ids, base = self._tensor([self.ids[-1], *draft.tokens]), self.cache.length
        if draft.is_chain:
            logits, hidden = self.net.step(ids, self.cache)
        else:
            positions, mask = tree_positions(draft.parents, base), tree_mask(draft.parents, base)
            logits, hidden = self.net.step(ids, self.cache, positions=positions.to(self.device), mask=mask.to(self.device))
        self._vocab = logits.shape[-1]
        return where_doubles_are(logits), hidden

    @property
    def _typical(self) -> Typical | None:
        """Medusa's rule, if the drafter asks for it; greedy decoding keeps to the argmax all the same."""
        rule = getattr(self.drafter, "typical", None)
        return None if self.sampling.greedy else rule

    def _judge(self, draft: Draft, logits: Tensor) -> Verdict:
        seen = self._seen_rows(draft)
        if self.sampling.greedy:
            return verify_greedy(draft, likeliest(penalised(logits, self.sampling, seen)))
        if self._typical is not None:
            return verify_typical(draft, law(logits, self.sampling, seen), self._typical, self._sample_u)
        if draft.laws is not None:
            p = law(logits, self.sampling, seen)
            return verify_drawn(draft, p, self._draft_laws(draft, p), self._accept_u, self._sample_u)
        return verify_chosen(
            draft, lambda row: law(logits[row], self.sampling, None if seen is None else seen[row]), self._accept_u, self._sample_u
        )

    def _draft_laws(self, draft: Draft, p: Tensor) -> Tensor:
        """The laws of a drawn chain over the target's vocabulary (n, V)."""
        laws = torch.stack(draft.laws)                                      # (n, V) or (n, own vocabulary)
        if draft.kept is None:
            return laws
        return torch.zeros_like(p[: len(draft)]).index_copy_(1, draft.kept.to(p.device), laws.to(p.dtype))

    def _accept_u(self, depth: int, sibling: int) -> float:
        return uniform(self.sampling.seed, len(self.ids) - 1 + depth, "accept", sibling)

    def _sample_u(self, depth: int) -> float:
        return uniform(self.sampling.seed, len(self.ids) - 1 + depth, "sample")

    def _cut(self, tokens: list[int], room: int) -> tuple[list[int], Reason | None]:
        """What of a round becomes text: up to the first stop token and no more than there is room for."""
        stop = next((place for place, token in enumerate(tokens) if token in self.stop_ids), None)
        if stop is not None and stop < room:
            return tokens[: stop + 1], "stop"
        if len(tokens) < room:
            return tokens, None
        return tokens[:room], "length" if self.new_tokens + room >= self.max_new_tokens else "context"

    def _take(self, base: int, tokens: list[int], rows: list[int], hidden: Tensor) -> None:
        """Make `tokens` text, and keep of the pass what was read of it: the pending token and all new ones but the last."""
        read = [self.ids[-1], *tokens[:-1]]
        if rows == list(range(len(rows))):
            self.cache.crop(base + len(rows))
            states = hidden[: len(rows)]
        else:
            self.cache.keep(base, rows)
            states = hidden[rows]
        self.hidden = states[-1]
        self.ids.extend(tokens)
        if self._seen is not None:
            self._seen[tokens] = True
        self.drafter.observe(base, read, states)

    # --- what is told ---

    def _committed(self, tokens: list[int], draft: Draft, verdict: Verdict, facts: RawFacts) -> tuple[Committed, ...]:
        made, raw = [], facts.p[list(range(len(tokens))), tokens].tolist()
        for place, token in enumerate(tokens):
            common = {"token": token, "p": verdict.path_p[place], "p_raw": raw[place]}
            common |= {"top": facts.top[place], "entropy": facts.entropy[place]}
            if place < len(verdict.path):
                node = verdict.path[place]
                made.append(Committed(kind="accepted", q=1.0 if draft.q is None else draft.q[node], u=verdict.u[node], **common))
            else:
                kind = "plain" if not draft.tokens else "corrected" if verdict.corrected else "bonus"
                made.append(Committed(kind=kind, q=None, u=verdict.token_u, **common))
        return tuple(made)

    def _drafted(self, draft: Draft, verdict: Verdict, facts: RawFacts, kept: int) -> tuple[Drafted, ...]:
        """The fate of every node; what lies behind the end of the text counts as untested."""
        if not draft.tokens:
            return ()
        accepted = set(verdict.path[:kept])
        row_of = {-1: 0, **{node: row + 1 for row, node in enumerate(verdict.path)}}  # path node -> row of `facts`
        nodes = []
        for node, depth in enumerate(depths(draft.parents)):
            parent = draft.parents[node]
            tested = verdict.p[node] is not None and depth <= kept
            raw = float(facts.p[row_of[parent], draft.tokens[node]]) if tested and row_of.get(parent, kept) < kept else None
            nodes.append(Drafted(
                token=draft.tokens[node], parent=parent, depth=depth,
                q=1.0 if draft.q is None else draft.q[node], q_raw=draft.beliefs[node],
                p=verdict.p[node] if tested else None, p_raw=raw, u=verdict.u[node] if tested else None,
                fate="accepted" if node in accepted else "rejected" if tested else "untested",
            ))  # fmt: skip
        return tuple(nodes)

    # --- small ---

    def _tensor(self, ids: Sequence[int]) -> Tensor:
        return torch.tensor(ids, dtype=torch.long, device=self.device)

    def _seen_tokens(self) -> Tensor | None:
        """(V,) bool, the tokens of the text; only made where a penalty needs it."""
        if self.sampling.repetition_penalty == 1:
            self._seen = None
        elif self._seen is None:
            self._seen = where_doubles_are(torch.zeros(self._vocab, dtype=torch.bool, device=self.device))
            self._seen[self.ids] = True
        return self._seen

    def _seen_rows(self, draft: Draft) -> Tensor | None:
        """(n + 1, V): behind each row the text and the node's own path."""
        if (seen := self._seen_tokens()) is None:
            return None
        rows = seen.repeat(len(draft) + 1, 1)                               # (n + 1, V)
        for node in range(len(draft)):
            rows[node + 1, [draft.tokens[step] for step in path_to(draft.parents, node)]] = True
        return rows


def fate_of(fate: str) -> bool | None:
    """Whether a node was kept; None if it was not tested."""
    return None if fate == "untested" else fate == "accepted"


def generate(
    net: LanguageNet,
    drafter: Drafter,
    prompt_ids: Sequence[int],
    sampling: SamplingConfig,
    draft_length: Literal["auto"] | int = "auto",
    stop_ids: Collection[int] = (),
    max_new_tokens: int = 256,
    top: int = 5,
    context: int = 2048,
) -> Iterator[Round]:
    """Decode one text from the start; see `Generation` for the parts of it."""
    length = Adaptive(clock=sampling.greedy) if draft_length == "auto" else FixedLength(draft_length)
    return Generation(
        net, prompt_ids, drafter, sampling, length, stop_ids=stop_ids, max_new_tokens=max_new_tokens, context=context, top=top
    ).rounds()
