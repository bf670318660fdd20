"""Takes down what the gates decided about each token of a text, once, and adds it up.

All statistics are those of `models/language/routing.py`; here they become payloads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from app.protocol.payloads import Tokens
from app.protocol.routing import NUMBERS, BalanceNumbers, Checks, LoadTable, RoutedPass, RoutingSummary
from models.language.gating import LayerRouting, RoutingTrace, gathered
from models.language.routing import Balance, co_activation, contributions, flips, flow, margin, mean_balance, random_router, visits

if TYPE_CHECKING:
    from app.runners.routing_source import Looker, Opened

WINDOWS = (1, 2, 4, 8, 16)
NEAR = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)
"""While a text grows, the random router is simulated at these numbers of tokens times a power of ten only."""
TOKEN_FIELDS = ("experts", "weights", "logits", "affinities", "scores", "live", "dropped", "routed_norm", "shared_norm")


@dataclass(frozen=True, eq=False)
class Taken:
    """One pass as it was taken down: tokens `first` to `kept` of the `read` ones are new and stay."""

    trace: RoutingTrace
    logits: Tensor  # (read, V)
    first: int
    kept: int
    read: int
    phase: str


@dataclass
class Book:
    """Everything that is known of a text: tokens, their -log p, phases, and the decisions layer by layer."""

    model: Opened
    ids: list[int] = field(default_factory=list)
    nats: list[float] = field(default_factory=list)
    phases: list[str] = field(default_factory=list)
    passes: list[RoutedPass] = field(default_factory=list)
    laws: list[Tensor] = field(default_factory=list)
    """log p (n, V) of the token after each place, if `keep_laws`."""
    keep_laws: bool = False
    _parts: list[LayerRouting] = field(default_factory=list)  # layers in the place of sequences, (L, T, ...) each
    _checks: list[tuple[int, int, list[int], list[float]]] = field(default_factory=list)  # read, kept, touched, alone by layer
    _waiting: list[Taken] = field(default_factory=list)
    _next: Tensor | None = None  # logits (1, V) of the token after the last one told

    def take(self, looker: Looker, kept: int, phase: str) -> bool:
        """Take down the first `kept` tokens of the newest pass, as far as they are new; False if all were known.

        It costs next to nothing: what follows from them is worked out by `tell`, for all passes since the last time at once.
        """
        if phase == "generation" and len(looker.ids) > 1:
            self._checks.append((len(looker.ids), kept, *touched_and_alone(looker.trace)))
        first = len(self.ids) - looker.start
        if first >= kept:
            return False
        ids = looker.ids[first:kept]
        self._waiting.append(Taken(looker.trace, looker.logits, first, kept, len(looker.ids), phase))
        self.ids += ids
        self.phases += [phase] * len(ids)
        return True

    def tell(self) -> RoutedPass | None:
        """What was taken down since the last time (tokens of one phase), as a payload; None if nothing was."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return None
        start, ids = len(self.nats), self.ids[len(self.nats) :]
        whole = gathered([one.trace for one in waiting], [(one.first, one.kept) for one in waiting])
        self._parts.append(whole)
        nats = self._score(waiting, ids)
        self.nats += nats
        if self.keep_laws:
            self.laws += [one.logits[one.first : one.kept].float().log_softmax(-1).cpu() for one in waiting]
        made = routed_pass(whole, self._tokens(ids, nats), start, waiting)
        self.passes.append(made)
        return made

    def _score(self, waiting: list[Taken], ids: list[int]) -> list[float]:
        """-log p of the new tokens, nan for the very first of the text."""
        before, last = [], self._next
        for one in waiting:
            if not one.first:
                before.append(torch.full_like(one.logits[:1], math.nan) if last is None else last)
            before.append(one.logits[max(one.first - 1, 0) : one.kept - 1])
            last = one.logits[one.kept - 1 : one.kept]
        self._next = last.clone()  # not a view: the rest may go
        logp = torch.cat(before).float().log_softmax(-1)                    # (n, V)
        return (-logp.gather(1, torch.tensor(ids, device=logp.device)[:, None])[:, 0]).tolist()

    def _tokens(self, ids: list[int], nats: list[float]) -> Tokens:
        return Tokens(texts=tuple(map(self.model.tokenizer.token_text, ids)), ids=tuple(ids), values=tuple(nats), label="-log p (nats)")

    @property
    def predicted(self) -> list[float]:
        """-log p of the prompt's tokens that have one before them."""
        return [value for value, phase in zip(self.nats, self.phases) if phase == "prompt" and not math.isnan(value)]

    @property
    def perplexity(self) -> float:
        """exp of the prompt's mean -log p; nan if nothing was predicted."""
        found = self.predicted
        return math.exp(sum(found) / len(found)) if found else math.nan

    def joined(self) -> dict[int, LayerRouting]:
        """The decisions of each layer about all tokens together, layers in order."""
        whole, layers = _joined(self._parts), self.model.layers
        return {layer: _layer(whole, row, layer) for row, layer in enumerate(layers)}

    # --- sums ---

    def table(self, joined: dict[int, LayerRouting], phase: str, exact: bool = True) -> LoadTable | None:
        """Loads of a phase ("all": of both); None if it has no tokens."""
        where = torch.tensor([phase in ("all", one) for one in self.phases])
        return load_table(joined, where, exact) if bool(where.any()) else None

    def summary(self, exact: bool = True) -> RoutingSummary:
        """All numbers of the text so far; without `exact`, baselines are for about as many tokens."""
        joined = self.joined()
        layers = list(joined.values())
        tables = {phase: self.table(joined, phase, exact) for phase in ("all", "prompt", "generation")}
        seen = [visits(one) for one in layers]                              # L x (T, E)
        norms = [contributions(one) for one in layers]
        shared = layers[0].shared_norm is not None
        E, k = layers[0].n_experts, layers[0].top_k
        windows = tuple(n for n in WINDOWS if n <= len(self.ids))
        found = self.predicted
        return RoutingSummary(
            layers=tuple(joined), top_k=k, phases={phase: table for phase, table in tables.items() if table is not None},
            together=_stacked([co_activation(one) for one in layers], (E, E)),
            together_chance=_stacked([one.mean(0) for one in seen], (E,)),
            flow=_stacked([flow(a, b) for a, b in zip(layers, layers[1:])], (E, E)),
            flipped=tuple(float(flips(one).double().mean()) for one in layers), dropped=tuple(int(one.dropped.sum()) for one in layers),
            routed_norm=tuple(routed for routed, _ in norms), shared_norm=tuple(value for _, value in norms) if shared else (),
            window=windows, touched=_stacked([touched(one, windows) for one in seen], (len(windows),)),
            touched_chance=tuple(E * (1 - (1 - k / E) ** n) for n in windows),
            nats=sum(found) / len(found) if found else 0.0, predicted=len(found), checks=self._checks_so_far(),
        )  # fmt: skip

    def _checks_so_far(self) -> Checks | None:
        if not self._checks:
            return None
        read, kept, touched, alone = (np.mean(column, axis=0) for column in zip(*self._checks, strict=True))
        return Checks(
            passes=len(self._checks), read=float(read), kept=float(kept), touched=tuple(touched.tolist()), alone=tuple(alone.tolist())
        )


def load_table(joined: dict[int, LayerRouting], where: Tensor | None = None, exact: bool = True) -> LoadTable:
    """Loads and numbers of all layers, over the tokens (T,) bool of one text."""
    layers = list(joined.values())
    mask = None if where is None else where[None].to(layers[0].live.device)
    counts = [one.counts(mask).cpu() for one in layers]
    tokens = layers[0].experts.shape[1] if where is None else int(where.sum())
    numbers = [Balance.of(one) for one in counts]
    near = tokens if exact else nearby(tokens)
    return LoadTable(
        tokens=tokens, chance_tokens=near, load=tuple(tuple(one.tolist()) for one in counts),
        layers=tuple(map(told, numbers)), mean=told(mean_balance(numbers)),
        chance=told(random_router(layers[0].n_experts, layers[0].top_k, near)),
    )  # fmt: skip


def told(balance: Balance) -> BalanceNumbers:
    """As a payload."""
    return BalanceNumbers(**{name: getattr(balance, name) for name in NUMBERS})


def nearby(tokens: int) -> int:
    """A round number of tokens close to this one, so that few different baselines are ever simulated."""
    power = 10 ** int(math.log10(tokens))
    return min((round(step * scale) for scale in (power, 10 * power) for step in NEAR), key=lambda round_: abs(round_ - tokens))


def touched(seen: Tensor, windows: tuple[int, ...]) -> Tensor:
    """Different experts that n neighbouring tokens visit, on average over all places: seen (T, E) -> (windows,)."""
    return torch.stack([seen.unfold(0, n, 1).amax(-1).sum(-1).mean() for n in windows])


def routed_pass(every: LayerRouting, tokens: Tokens, start: int, passes: list[Taken]) -> RoutedPass:
    """Decisions of all layers (L, T, ...) about tokens of one text as a payload."""
    bias, shared = every.bias, every.shared_norm
    return RoutedPass(
        start=start, phase=passes[0].phase, tokens=tokens, experts=every.experts.to(torch.int16).cpu().numpy(),
        weights=every.weights.float().cpu().numpy(), affinities=every.affinities.cpu().numpy(),
        bias=None if bias is None else bias.cpu().numpy(), barred=every.scores.isneginf().cpu().numpy(), flips=flips(every).cpu().numpy(),
        live=every.live.cpu().numpy(), dropped=every.dropped.cpu().numpy(), margin=margin(every).cpu().numpy(),
        routed_norm=every.routed_norm.float().cpu().numpy(), shared_norm=None if shared is None else shared.float().cpu().numpy(),
        read=np.repeat([one.read for one in passes], [one.kept - one.first for one in passes]),
        touched=touched_by_pass(every, passes),
    )  # fmt: skip


def touched_and_alone(trace: RoutingTrace) -> tuple[list[int], list[float]]:
    """Experts that the tokens of a pass visit together, and that one of them visits on average, layer by layer."""
    choices = [trace.notes[layer].choice for layer in sorted(trace.notes)]
    together = [choice.experts[choice.live].unique().numel() for choice in choices]
    return together, [float(choice.live.sum(-1).float().mean()) for choice in choices]


def touched_by_pass(every: LayerRouting, passes: list[Taken]) -> np.ndarray:
    """(L, T): different experts that the pass of each new token reads in each layer, refused tokens of the pass included."""
    found, at = every.live.sum(-1).cpu().numpy(), 0                         # (L, T): right for passes over one token
    for one in passes:
        end = at + one.kept - one.first
        if one.read > 1:
            found[:, at:end] = np.array(touched_and_alone(one.trace)[0])[:, None]
        at = end
    return found


def _joined(parts: list[LayerRouting]) -> LayerRouting:
    whole = {name: [getattr(one, name) for one in parts] for name in TOKEN_FIELDS}
    return replace(parts[-1], **{name: None if values[0] is None else torch.cat(values, 1) for name, values in whole.items()})


def _layer(whole: LayerRouting, row: int, layer: int) -> LayerRouting:
    """One layer of several, as the decisions about one sequence."""
    cut = {name: getattr(whole, name) for name in TOKEN_FIELDS}
    rows = {name: None if value is None else value[row : row + 1] for name, value in cut.items()}
    return replace(whole, layer=layer, bias=None if whole.bias is None else whole.bias[row], **rows)


def _stacked(values: list[Tensor], shape: tuple[int, ...]) -> np.ndarray:
    if not values:
        return np.zeros((0, *shape), np.float32)
    return torch.stack(values).float().cpu().numpy()
