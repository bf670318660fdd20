"""The cache grows, crops, keeps chosen rows and copies without losing or mixing entries."""

import pytest
import torch

from models.nn.kvcache import FIRST_ROOM, CacheFullError, KVCache
from models.nn.mla import LatentCache


def filled(n: int, max_len: int = 2000, start: int = 0) -> KVCache:
    cache = KVCache(2, 3, 4, max_len)
    append(cache, range(start, start + n))
    return cache


def append(cache: KVCache, values) -> None:
    writes, keys, all_values = cache.extend(len(values))
    for layer, slot in enumerate(writes):
        numbers = torch.tensor(list(values), dtype=torch.float32)[None, None, :, None]
        slot.copy_((numbers + 10_000 * layer).expand_as(slot))
        slot[:, 3:] += 0.5  # values differ from keys
    for layer in range(2):
        assert torch.equal(keys[layer], cache.k[layer, :, :, : cache.length])
        assert torch.equal(all_values[layer], cache.v[layer, :, :, : cache.length])


def contents(cache: KVCache) -> list[float]:
    for layer in range(2):
        k, v = cache.k[layer, :, :, : cache.length], cache.v[layer, :, :, : cache.length]
        assert torch.equal(v, k + 0.5)
        assert torch.equal(k, (cache.k[0, :, :1, : cache.length, :1] + 10_000 * layer).expand_as(k))
    return cache.k[0, 0, 0, : cache.length, 0].tolist()


def test_it_grows_by_doubling_and_keeps_what_it_holds():
    cache = filled(FIRST_ROOM - 1)
    small = cache.bytes
    assert cache.room == FIRST_ROOM
    append(cache, range(FIRST_ROOM - 1, FIRST_ROOM + 1))
    assert cache.room == 2 * FIRST_ROOM and cache.bytes == 2 * small
    append(cache, range(FIRST_ROOM + 1, 1500))
    assert cache.room == 2000  # never beyond the context
    assert contents(cache) == list(range(1500))
    assert (cache.k.shape, cache.v.shape) == ((2, 1, 3, 2000, 4), (2, 1, 3, 2000, 4))


def test_beyond_the_context_there_is_a_sentence():
    cache = filled(5, max_len=6)
    with pytest.raises(CacheFullError) as caught:
        cache.extend(2)
    assert "7 tokens" in caught.value.message and "holds 6" in caught.value.message and caught.value.hint
    assert cache.length == 5


def test_crop_takes_drafts_back():
    cache = filled(10)
    cache.crop(4)
    append(cache, [90, 91])
    assert contents(cache) == [0, 1, 2, 3, 90, 91]
    for wrong in (-1, 7):
        with pytest.raises(ValueError, match="crop"):
            cache.crop(wrong)


@pytest.mark.parametrize("rows", [[], [0], [0, 1, 2], [1, 4], [3], [4, 2]])
def test_keep_leaves_the_accepted_path(rows):
    cache = filled(5)
    append(cache, range(20, 25))
    cache.keep(5, rows)
    assert contents(cache) == [0, 1, 2, 3, 4, *(20 + row for row in rows)]


def test_keep_refuses_rows_that_are_not_there():
    for start, rows in ((5, [5]), (11, []), (0, [-1])):
        with pytest.raises(ValueError, match="rows"):
            filled(10).keep(start, rows)


def test_a_copy_goes_its_own_way():
    cache = filled(4)
    twin = cache.copy()
    append(twin, [50])
    append(cache, [60])
    cache.crop(2)
    assert contents(twin) == [0, 1, 2, 3, 50] and contents(cache) == [0, 1]


def test_a_copy_is_of_the_same_kind():
    cache = LatentCache(2, 5, 100)
    cache.extend(3)
    twin = cache.copy()
    assert type(twin) is LatentCache and twin.length == 3 and len(twin.extend(1)) == 2 and cache.length == 3
