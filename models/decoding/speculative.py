"""Testing a draft: which of its tokens become text, and which token follows them.

Drawn chains (Leviathan et al., arXiv 2211.17192; Chen et al., arXiv 2302.01318): keep x ~ q if `u <= p(x) / q(x)`; at the first rejection
draw from `max(0, p - q)` normalised; if all are kept draw one more from p. The text has exactly the law p, p and q both being *filtered*
laws. Chosen trees (a proposal is a fixed token, q one-hot): the same rule child after child, each rejection taking its token out of p.
Greedy: keep what equals the argmax. Typical acceptance (Medusa, arXiv 2401.10774, eq. 1) keeps what is likely enough: not lossless.
All rules give the same record, a `Verdict`. Read next: `models/decoding/generate.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.decoding.drafting import Draft
from models.decoding.sampling import pick

Uniform = Callable[[int, int], float]  # (depth, how many siblings were tested before) -> u


@dataclass(frozen=True)
class Verdict:
    """What the target says to a draft. Lists over nodes hold None where nothing was tested."""

    path: list[int]  # the accepted nodes, from the first to the last
    token: int  # what follows them
    token_u: float | None
    p: list[float | None]  # n: what each tested node was tested with
    u: list[float | None]  # n
    path_p: list[float]  # the filtered law's p of each accepted token, and at the end of `token`
    corrected: bool  # `token` was drawn after a rejection


def residual(p: Tensor, q: Tensor) -> Tensor:
    """`max(0, p - q)` normalised (…, V): what p has left where q was already tried. If rounding leaves nothing, p."""
    left = (p - q).clamp_min(0)
    total = left.sum(-1, keepdim=True)
    return torch.where(total > 0, left / total, p)


def one_hot(token: int, like: Tensor) -> Tensor:
    """The law (V,) of a proposal that was chosen, not drawn."""
    q = torch.zeros_like(like)
    q[token] = 1
    return q


def accept_chain(p: Tensor, q: Tensor, tokens: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """Test drawn chains: how many tokens are kept (B,), and the law (B, V) of the token that follows.

    p (B, n + 1, V) target laws, q (B, n, V) draft laws, tokens (B, n) drawn from q, u (B, n) in [0, 1).
    """
    n = tokens.shape[1]
    p_x = p[:, :n].gather(-1, tokens.unsqueeze(-1)).squeeze(-1).double()    # (B, n)
    q_x = q.gather(-1, tokens.unsqueeze(-1)).squeeze(-1).double()           # (B, n)
    kept = (u <= p_x / q_x).long().cumprod(-1).sum(-1)                      # (B,)
    rows = torch.arange(len(p), device=p.device)
    last = p[rows, kept]                                                    # (B, V)
    tried = q[rows, kept.clamp_max(n - 1)]                                  # (B, V)
    return kept, torch.where((kept < n).unsqueeze(-1), residual(last, tried), last)


def verify_drawn(draft: Draft, p: Tensor, q: Tensor, uniform: Uniform, sample_u: Callable[[int], float]) -> Verdict:
    """A chain of tokens drawn from q (n, V), under the target laws p (n + 1, V). `sample_u(depth)`: the draw of the last token."""
    n = len(draft)
    us = [uniform(depth, 0) for depth in range(1, n + 1)]
    tokens = torch.tensor(draft.tokens, device=p.device)
    kept, last = accept_chain(p[None], q[None], tokens[None], torch.tensor(us, dtype=torch.float64, device=p.device)[None])
    kept = int(kept)
    u = sample_u(kept + 1)
    token = int(pick(last[0], u))
    tested = min(kept + 1, n)
    px = p[torch.arange(tested), tokens[:tested]].tolist()
    return Verdict(
        path=list(range(kept)), token=token, token_u=u,
        p=px + [None] * (n - tested), u=us[:tested] + [None] * (n - tested),
        path_p=px[:kept] + [float(p[kept, token])], corrected=kept < n,
    )  # fmt: skip


def verify_chosen(draft: Draft, law: Callable[[int], Tensor], uniform: Uniform, sample_u: Callable[[int], float]) -> Verdict:
    """A tree of chosen tokens. `law(row)` is the target's law behind row 0 (the pending token) or row i + 1 (node i)."""
    ps: list[float | None] = [None] * len(draft)
    us: list[float | None] = [None] * len(draft)
    children, path, path_p, node = children_of(draft.parents), [], [], -1
    while True:
        whole = left = law(node + 1)                                        # (V,)
        accepted = None
        for tried, child in enumerate(children[node]):
            token = draft.tokens[child]
            ps[child], us[child] = float(left[token]), uniform(len(path) + 1, tried)
            if us[child] <= ps[child]:
                accepted = child
                break
            left = residual(left, one_hot(token, left))
        if accepted is None:
            break
        path.append(accepted)
        path_p.append(float(whole[draft.tokens[accepted]]))
        node = accepted
    u = sample_u(len(path) + 1)
    token = int(pick(left, u))
    return Verdict(path, token, u, ps, us, [*path_p, float(whole[token])], bool(children[node]))


def verify_greedy(draft: Draft, best: Sequence[int]) -> Verdict:
    """A tree under greedy decoding: `best[row]` is the target's choice behind each row."""
    ps: list[float | None] = [None] * len(draft)
    children, path, node = children_of(draft.parents), [], -1
    while True:
        accepted = None
        for child in children[node]:
            ps[child] = float(draft.tokens[child] == best[node + 1])
            if ps[child]:
                accepted = child
        if accepted is None:
            break
        path.append(accepted)
        node = accepted
    return Verdict(path, best[node + 1], None, ps, [None] * len(draft), [1.0] * (len(path) + 1), bool(children[node]))


@dataclass(frozen=True)
class Typical:
    """Medusa's rule: keep x if `p(x) > min(eps, delta exp(-H(p)))`; of the paths kept to the end the longest, then the likeliest."""

    eps: float = 0.09
    delta: float = 0.3  # sqrt(eps)


def verify_typical(draft: Draft, p: Tensor, rule: Typical, sample_u: Callable[[int], float]) -> Verdict:
    """A tree under typical acceptance, p (n + 1, V) being the target's filtered laws. The law of the text is not kept.

    A node that passes but lies off the chosen path counts as rejected.
    """
    n = len(draft)
    entropy = -(p * p.clamp_min(1e-30).log()).sum(-1)                       # (n + 1,)
    bar = (rule.delta * (-entropy).exp()).clamp_max(rule.eps).tolist()
    rows = torch.tensor([parent + 1 for parent in draft.parents], dtype=torch.long, device=p.device)
    px = p[rows, torch.tensor(draft.tokens, dtype=torch.long, device=p.device)].tolist()
    paths: dict[int, tuple[float, list[int]]] = {-1: (1.0, [])}  # node -> probability and nodes of its accepted path
    for node, parent in enumerate(draft.parents):
        if parent in paths and px[node] > bar[parent + 1]:
            probability, nodes = paths[parent]
            paths[node] = (probability * px[node], [*nodes, node])
    _, path = max(paths.values(), key=lambda found: (len(found[1]), found[0]))
    tip = path[-1] if path else -1
    u = sample_u(len(path) + 1)
    token = int(pick(p[tip + 1], u))
    tested = [px[node] if draft.parents[node] in paths else None for node in range(n)]
    return Verdict(
        path, token, u, tested, [None] * n, [*(px[node] for node in path), float(p[tip + 1, token])], bool(children_of(draft.parents)[tip])
    )


def children_of(parents: Sequence[int]) -> dict[int, list[int]]:
    """The nodes behind each node, in the order they were proposed; -1 is the pending token."""
    children: dict[int, list[int]] = {node: [] for node in range(-1, len(parents))}
    for node, parent in enumerate(parents):
        children[parent].append(node)
    return children
