"""How much memory a piece of torch code really holds: the largest sum of bytes of live tensors made inside it.

    with Meter() as meter: f(q, k, v)
    meter.peak_bytes

Every operator passes by here, so this is for measuring once, not for running under. Memory that operators use for
themselves and give back (a kernel's scratch space) is not seen. Costs as formulas stand in `cost.py`.
"""

from __future__ import annotations

from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Meter(TorchDispatchMode):
    """Counts bytes of tensors made while it is entered; views and what was there before count nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.peak_bytes = 0
        self._live: dict[int, tuple[StorageWeakRef, int]] = {}
        self._old: dict[int, StorageWeakRef] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled here; torch would import its compiler, for seconds, only to be told so."""
        return False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        for leaf in tree_leaves((args, kwargs)):
            if isinstance(leaf, Tensor) and (ref := StorageWeakRef(leaf.untyped_storage())).cdata not in self._live:
                self._old[ref.cdata] = ref
        result = func(*args, **(kwargs or {}))
        self._live = {key: entry for key, entry in self._live.items() if not entry[0].expired()}
        self._old = {key: ref for key, ref in self._old.items() if not ref.expired()}
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                storage = leaf.untyped_storage()
                ref = StorageWeakRef(storage)
                if ref.cdata not in self._live and ref.cdata not in self._old:
                    self._live[ref.cdata] = (ref, storage.nbytes())
        self.peak_bytes = max(self.peak_bytes, sum(size for _, size in self._live.values()))
        return result
