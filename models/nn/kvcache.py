"""The keys and values of a text so far, so that each new token costs one step instead of the whole text.

One block of memory, (layers, B, 2 n_kv_heads, room, head_dim): keys first, then values, since both are written by one
copy. It grows by doubling up to `max_len`. `length` counts the tokens whose entries hold; cropping forgets the rest
without touching memory, which is how rejected drafts are taken back.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy as shallow_copy
from typing import Self

import torch
from torch import Tensor

FIRST_ROOM = 256
"""Tokens of room at the start; 256 tokens of SmolLM2 are 12 MB in fp32."""


class CacheFullError(ValueError):
    """More tokens than the context has room for."""

    def __init__(self, wanted: int, max_len: int) -> None:
        self.message = f"The text needs {wanted} tokens, the context holds {max_len}."
        self.hint = "Shorten the text, or begin a new conversation."
        super().__init__(self.message)


class KVCache:
    """Keys and values of every layer; belongs to one text (or one batch of texts of equal length)."""

    def __init__(
        self,
        n_layers: int,
        n_kv_heads: int,
        head_dim: int,
        max_len: int,
        batch: int = 1,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.n_kv_heads, self.max_len = n_kv_heads, max_len
        self.length = 0
        room = min(max_len, FIRST_ROOM)
        self._kv = torch.zeros(n_layers, batch, 2 * n_kv_heads, room, head_dim, dtype=dtype, device=device)

    @property
    def k(self) -> Tensor:
        """Rotated keys, (layers, B, n_kv_heads, room, head_dim); entries from `length` on mean nothing."""
        return self._kv[:, :, : self.n_kv_heads]

    @property
    def v(self) -> Tensor:
        """Values, (layers, B, n_kv_heads, room, head_dim)."""
        return self._kv[:, :, self.n_kv_heads :]

    @property
    def room(self) -> int:
        """Tokens that fit without growing."""
        return self._kv.shape[3]

    @property
    def bytes(self) -> int:
        """Memory held."""
        return self._kv.nbytes

    def extend(self, n: int) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Room for n more tokens. Per layer: where to write keys and values (B, 2 n_kv, n, D), all keys, all values.

        Keys and values to read are (B, n_kv, length, D). Counts the n tokens at once; every layer must then write its
        own. Raises CacheFullError beyond max_len.
        """
        start, end = self.length, self.length + n
        if end > self.room:
            self._grow(end)
        self.length = end
        filled = self._kv[:, :, :, :end]
        keys, values = filled[:, :, : self.n_kv_heads], filled[:, :, self.n_kv_heads :]
        return self._kv[:, :, :, start:end].unbind(0), keys.unbind(0), values.unbind(0)

    def crop(self, n: int) -> None:
        """Forget everything after the first n tokens."""
        if not 0 <= n <= self.length:
            raise ValueError(f"cannot crop a cache of {self.length} tokens to {n}")
        self.length = n

    def keep(self, start: int, rows: Sequence[int]) -> None:
        """Of the entries from `start` on keep only those `rows` (counted from start), in that order.

        After a tree of drafts has been checked these are the nodes of the accepted path.
        """
        if not 0 <= start <= self.length or any(not 0 <= row < self.length - start for row in rows):
            raise ValueError(f"rows {list(rows)} do not all lie in the {self.length - start} entries from {start} on")
        end = start + len(rows)
        if list(rows) != list(range(len(rows))):
            chosen = torch.tensor(rows, dtype=torch.long, device=self._kv.device) + start
            self._kv[:, :, :, start:end] = self._kv[:, :, :, chosen]
        self.length = end

    def copy(self) -> Self:
        """An independent copy of the same class, for a branch that goes on elsewhere."""
        twin = shallow_copy(self)
        twin._kv = self._kv.clone()
        return twin

    def _grow(self, wanted: int) -> None:
        if wanted > self.max_len:
            raise CacheFullError(wanted, self.max_len)
        room = self.room
        while room < wanted:
            room *= 2
        old = self._kv
        shape = (*old.shape[:3], min(room, self.max_len), old.shape[4])
        self._kv = torch.zeros(shape, dtype=old.dtype, device=old.device)
        self._kv[:, :, :, : self.length] = old[:, :, :, : self.length]
