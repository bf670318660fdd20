"""LSH attention (Reformer, Kitaev et al., arXiv 2001.04451, section 2): look only at keys that fall into your bucket.

Angular hashing turns a vector x by random matrices R (d x b/2) and takes argmax[xR; -xR] of b buckets, so that vectors
of similar direction tend to meet. Tokens are sorted by (bucket, position) and cut into chunks of m = 2n/b; each chunk
attends to itself and to the one before, to keys of the same bucket, not to the future. Several rounds with other R are
joined by their normalisers.

Reformer shares queries and keys: keys are the queries at unit length, and a token looks at itself (where the score is
largest by far) only if there is nothing else. To ask the question of a given q and k, `shared=False` hashes both with
the same R, sorts them together and always lets a token see itself.

Which keys are near enough in the sorted order depends on all tokens, also later ones: no value or key of the future
enters an output, but which past keys are seen may shift with it. Matches transformers' `LSHSelfAttention` with
`same_bucket=False, wrap=True`: it attends to all keys of the two chunks and lets each round's first chunk look at the
last of the round before. Read next: `reversible.py`, Reformer's other half.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from models.attention.cost import Cost, Sizes, cost_of
from models.attention.signature import (
    NEGATIVE_INFINITY,
    ROWS_SUM_TO_ONE,
    Attended,
    AttentionError,
    check,
    default_scale,
    join,
    masked_softmax,
    partial_softmax,
    past,
    pieces,
)

SELF_SCORE = -1e5  # of a token with itself where q = k: the last resort
NORM_EPS = 1e-6  # below the mean square of a key that is brought to unit length


def lsh(
    q: Tensor, k: Tensor, v: Tensor, *, causal: bool = True, want_map: bool = False, scale: float | None = None,
    buckets: int = 8, rounds: int = 2, chunk: int = 0, shared: bool = False, seed: int = 0,
    hashes: Tensor | None = None, same_bucket: bool = True, wrap: bool = False,
) -> Attended:  # fmt: skip
    """Softmax over the keys of one's bucket. `chunk` 0 is the paper's 2n/b.

    With `shared` k is ignored and the scale is 1. `hashes` (B, H, rounds, T), or for separate keys a pair of them
    stacked (2, B, H, rounds, T), replace the random hashing.
    """
    check(q, k, v, own_tokens=True)
    if hashes is None:
        hashes = hash_buckets(q, buckets, rounds, seed)                     # (B, H, R, T)
        hashes = hashes if shared else torch.stack([hashes, hash_buckets(k, buckets, rounds, seed)])
    if shared:
        k, scale = unit_keys(q), 1.0 if scale is None else scale
    places = _sort(hashes, shared, chunk or paper_chunk(q.shape[2], buckets, shared), q.shape[2])
    scale = default_scale(scale, q.shape[-1])
    parts = _rounds(q, k, v, places, scale, causal, same_bucket, wrap)
    own = torch.full_like(q[..., 0], SELF_SCORE) if shared else (q * k).sum(-1) * scale + math.log(places.rounds)
    out, _ = join([*parts, (v, own)])                                       # (B, H, T, dv)
    weights = _map(q, k, own, places, scale, causal, same_bucket, wrap) if want_map else None
    cost = lsh_cost(Sizes.of(q, k, v), buckets=buckets, rounds=places.rounds, chunk=places.chunk, shared=shared)
    return Attended(out=out, weights=weights, normalisation=ROWS_SUM_TO_ONE, cost=cost)


def lsh_cost(
    sizes: Sizes, causal: bool = True, buckets: int = 8, rounds: int = 2, chunk: int = 0, shared: bool = False, seed: int = 0
) -> Cost:
    """R rounds of hashing N items (T, or T queries and T keys), then chunks of m against 2m."""
    items = sizes.T if shared else 2 * sizes.T
    return cost_of(
        sizes, flops="B H R (N d b + 4 ceil(N/m) m² (d + dv))", held="B H R (N b + 4 ceil(N/m) m² + 3 N d)",
        R=rounds, N=items, b=buckets, m=chunk or paper_chunk(sizes.T, buckets, shared),
    )  # fmt: skip


def paper_chunk(T: int, buckets: int, shared: bool) -> int:
    """m = 2n/b: chunks twice as long as the mean bucket, so that a bucket seldom spans more than two."""
    return max(1, pieces(2 * (T if shared else 2 * T), buckets))


def unit_keys(q: Tensor) -> Tensor:
    """Shared keys: each query divided by its length."""
    return q * (q.square().mean(dim=-1, keepdim=True) + NORM_EPS).rsqrt() * q.shape[-1] ** -0.5


def hash_buckets(x: Tensor, buckets: int, rounds: int, seed: int) -> Tensor:
    """The bucket of every vector in every round: x (B, H, T, d) to (B, H, rounds, T), whole numbers below `buckets`."""
    if buckets < 2 or buckets % 2:
        raise AttentionError(f"Angular hashing needs an even number of buckets, not {buckets}.")
    generator = torch.Generator().manual_seed(seed)
    turns = torch.randn(rounds, x.shape[-1], buckets // 2, generator=generator).to(x)  # (R, d, b/2)
    sides = x.detach()[:, :, None] @ turns                                  # (B, H, R, T, b/2)
    return torch.cat([sides, -sides], dim=-1).argmax(dim=-1)                # (B, H, R, T)


@dataclass(frozen=True)
class Places:
    """Where the tokens stand after sorting, N places in chunks of `chunk`; places beyond the last item hold T and -1."""

    position: Tensor  # (B, H, R, N) of the token at each place
    bucket: Tensor  # (B, H, R, N)
    is_query: Tensor  # (B, H, R, N)
    is_key: Tensor  # (B, H, R, N)
    query_place: Tensor  # (B, H, R, T) where each token's query stands
    key_place: Tensor  # (B, H, R, T) and its key
    chunk: int

    @property
    def rounds(self) -> int:
        return self.position.shape[2]

    def chunked(self, x: Tensor) -> Tensor:
        """(B, H, R, N, ...) to (B, H, R, n, m, ...)."""
        return x.unflatten(3, (-1, self.chunk))


def _sort(hashes: Tensor, shared: bool, chunk: int, T: int) -> Places:
    """Sort by (bucket, position); with separate keys a token's key stands just before its query, if in one bucket."""
    pair = (hashes,) if shared else (hashes[1], hashes[0])  # keys, then queries
    item_bucket = torch.cat(pair, dim=-1)                                   # (B, H, R, items)
    items = item_bucket.shape[-1]
    item = torch.arange(items, device=hashes.device)
    order = (item_bucket * items + (item % T) * 2 + item // T if not shared else item_bucket * items + item).argsort(dim=-1)
    place = torch.empty_like(order).scatter_(-1, order, item.expand_as(order))  # the inverse of `order`
    missing = (0, -items % chunk)
    is_query = pad(order >= (0 if shared else items // 2), missing)
    return Places(
        position=pad(order % T, missing, value=T), bucket=pad(item_bucket.gather(-1, order), missing, value=-1),
        is_query=is_query, is_key=pad(order < T, missing),
        query_place=place[..., -T:], key_place=place[..., :T], chunk=chunk,
    )  # fmt: skip


def _rounds(q: Tensor, k: Tensor, v: Tensor, places: Places, scale: float, causal: bool, same_bucket: bool, wrap: bool) -> list:
    """Per round the output over the keys that are seen, the token itself left out, and the log of its normaliser."""
    mask = _seen(places, causal, same_bucket, wrap)                         # (B, H, R, n, m, 2m)
    queries, keys, values = (places.chunked(_at(x, places.position)) for x in (q, k, v))  # (B, H, R, n, m, d)
    keys, values = _with_previous(keys), _with_previous(values)             # (B, H, R, n, 2m, d)
    p, logs = partial_softmax(queries @ keys.transpose(-1, -2) * scale, mask)
    out = (p @ values).flatten(3, 4)                                        # (B, H, R, N, dv)
    where = places.query_place                                              # (B, H, R, T)
    out = out.gather(3, where[..., None].expand(*where.shape, v.shape[-1]))  # (B, H, R, T, dv)
    logs = logs.flatten(3).gather(3, where)                                 # (B, H, R, T)
    return list(zip(out.unbind(2), logs.unbind(2), strict=True))


def _seen(places: Places, causal: bool, same_bucket: bool, wrap: bool) -> Tensor:
    """Which place of a chunk may look at which of its own and the chunk before, (B, H, R, n, m, 2m)."""
    i = places.chunked(places.position)                                     # (B, H, R, n, m)
    j = _with_previous(i)                                                   # (B, H, R, n, 2m)
    mask = (places.chunked(places.is_query)[..., None] & _with_previous(places.chunked(places.is_key))[..., None, :])
    mask = mask & (j[..., None, :] != i[..., None])
    if causal:
        mask = mask & (j[..., None, :] < i[..., None])
    if same_bucket:
        bucket = places.chunked(places.bucket)
        mask = mask & (_with_previous(bucket)[..., None, :] == bucket[..., None])
    if not wrap:  # the first chunk of a round has none before it
        mask = mask.clone()
        mask[:, :, :, 0, :, : places.chunk] = False
    return mask


def _with_previous(x: Tensor) -> Tensor:
    """Each chunk after the one before it in the row of all rounds: (B, H, R, n, m, ...) to (B, H, R, n, 2m, ...)."""
    row = x.flatten(2, 3)                                                   # (B, H, R n, m, ...)
    return torch.cat([row.roll(1, dims=2), row], dim=3).unflatten(2, x.shape[2:4])


def _at(x: Tensor, position: Tensor) -> Tensor:
    """The rows of x (B, H, T, d) at positions (B, H, R, N); beyond the text any row, which is never seen."""
    index = position.clamp(max=x.shape[2] - 1).flatten(2)[..., None]        # (B, H, R N, 1)
    return x.gather(2, index.expand(-1, -1, -1, x.shape[-1])).unflatten(2, position.shape[2:])


def _map(
    q: Tensor, k: Tensor, own: Tensor, places: Places, scale: float, causal: bool, same_bucket: bool, wrap: bool
) -> Tensor:
    """All rounds as one softmax in which a key counts as often as it is seen: (B, H, T, T), from the sorted places."""
    T = q.shape[2]
    often = q.new_zeros(*q.shape[:3], T)                                    # (B, H, T, T)
    last = pieces(places.position.shape[-1], places.chunk) - 1
    for r in range(places.rounds):
        mine, theirs = places.query_place[:, :, r, :, None], places.key_place[:, :, r, None]
        back = mine // places.chunk - theirs // places.chunk                # chunks between, 0 or 1 is near
        near = (back == 0) | (back == 1)
        if same_bucket:
            bucket = places.bucket[:, :, r]                                 # (B, H, N)
            near = near & (bucket.gather(-1, mine[..., 0])[..., None] == bucket.gather(-1, theirs[:, :, 0])[:, :, None])
        often += near
        if wrap:
            before = places.key_place[:, :, r - 1, None]
            often += (mine // places.chunk == 0) & (before // places.chunk == last)
    often = often.masked_fill(torch.eye(T, dtype=torch.bool, device=q.device), 0)
    if causal:
        often = often * past(T, T, q.device)
    scores = q @ k.transpose(-1, -2) * scale + often.log()                  # a key seen twice weighs twice
    scores = scores.masked_fill(torch.eye(T, dtype=torch.bool, device=q.device), 0) + torch.diag_embed(own)
    return masked_softmax(scores, scores != NEGATIVE_INFINITY)
