"""Trees: every node is judged as if its path stood alone; shapes; what is expected of them is what comes."""

from __future__ import annotations

import pytest
import torch

from models.decoding.draft_length import FixedLength
from models.decoding.generate import Generation
from models.decoding.medusa import MedusaConfig, MedusaDrafter, MedusaHeads
from models.decoding.narrow import unembedding
from models.decoding.sampling import SamplingConfig
from models.decoding.tree import (
    ancestor_mask,
    best_shape,
    depths,
    expected_length,
    path_to,
    shape_parents,
    tree_mask,
    tree_positions,
)
from tests.models.decoding.toys import tiny_llama

PARENTS = (-1, -1, 0, 0, 2, 1, 4)
TOKENS = (7, 9, 11, 13, 15, 11, 2)


def test_the_mask_lets_a_node_see_its_ancestors_only() -> None:
    mask = ancestor_mask((-1, -1, 0, 2))
    assert mask.int().tolist() == [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 0, 1, 0, 0], [1, 1, 0, 1, 0], [1, 1, 0, 1, 1]]
    whole = tree_mask((-1, -1), 3)
    assert whole.shape == (3, 6) and bool(whole[:, :3].all())
    assert tree_positions((-1, -1, 0), 10).tolist() == [10, 11, 11, 12]


def test_tree_logits_are_those_of_every_path_alone() -> None:
    net, prompt = tiny_llama(), torch.tensor([1, 2, 3, 4, 5])
    cache = net.new_cache(64)
    net.step(prompt[:-1], cache)
    length = cache.length
    ids = torch.tensor([5, *TOKENS])
    logits, hidden = net.step(ids, cache, positions=tree_positions(PARENTS, length), mask=tree_mask(PARENTS, length))
    for node in range(len(TOKENS)):
        path = [TOKENS[step] for step in path_to(PARENTS, node)]
        alone, state = net.step(torch.cat([prompt, torch.tensor(path)]), net.new_cache(64))
        torch.testing.assert_close(logits[node + 1], alone[-1], atol=1e-4, rtol=0)
        torch.testing.assert_close(hidden[node + 1], state[-1], atol=1e-4, rtol=0)


def test_after_a_tree_the_cache_is_that_of_the_text() -> None:
    """Positions and keys of the accepted path, not of the flattened order."""
    net, prompt = tiny_llama(), torch.tensor([1, 2, 3, 4, 5])
    cache = net.new_cache(64)
    net.step(prompt[:-1], cache)
    net.step(torch.tensor([5, *TOKENS]), cache, positions=tree_positions(PARENTS, 4), mask=tree_mask(PARENTS, 4))
    cache.keep(4, [0, *(node + 1 for node in path_to(PARENTS, 6))])
    plain = net.new_cache(64)
    net.step(torch.cat([prompt, torch.tensor([TOKENS[node] for node in path_to(PARENTS, 6)])]), plain)
    assert cache.length == plain.length == 9
    torch.testing.assert_close(cache.k[..., :9, :], plain.k[..., :9, :], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(cache.v[..., :9, :], plain.v[..., :9, :], atol=1e-5, rtol=1e-5)


ACCURACIES = ((0.6, 0.2, 0.1), (0.4, 0.2, 0.05))


def test_the_best_shape_is_the_best_of_all_shapes() -> None:
    """Against every set of paths that is closed under prefixes."""
    every = [(a,) for a in range(3)] + [(a, b) for a in range(3) for b in range(3)]
    for nodes in (1, 2, 3, 4, 5):
        best = 0.0
        for bits in range(1 << len(every)):
            chosen = [path for index, path in enumerate(every) if bits >> index & 1]
            if len(chosen) == nodes and all(path[:1] in chosen for path in chosen):
                best = max(best, expected_length(chosen, ACCURACIES))
        shape = best_shape(ACCURACIES, nodes)
        assert expected_length(shape, ACCURACIES) == pytest.approx(best)
        assert all(path[:1] in shape[: index + 1] for index, path in enumerate(shape)), "parents come first"
    assert depths(shape_parents(best_shape(ACCURACIES, 5))) == [len(path) for path in best_shape(ACCURACIES, 5)]


class Oracle(MedusaHeads):
    """Heads whose choice j at depth k + 1 is right with a known probability, whatever the text: they know the text to come."""

    def __init__(self, future: list[int], vocab: int, seed: int) -> None:
        super().__init__(MedusaConfig(4, 2, vocab, 0))
        self.future, self.vocab, self.noise = future, vocab, torch.Generator().manual_seed(seed)
        self.place = 0

    def forward(self, h, unembed):
        logits = torch.zeros(2, self.vocab)
        for depth, accuracies in enumerate(ACCURACIES):
            right = self.future[self.place + depth]
            ranked = [token for token in range(self.vocab) if token != right][:3]
            draw = float(torch.rand((), generator=self.noise))
            for choice, chance in enumerate(accuracies):
                if draw < chance:
                    ranked[choice] = right
                    break
                draw -= chance
            for choice, token in enumerate(ranked):
                logits[depth, token] = 10.0 - choice
        return logits


def test_mean_accepted_length_is_what_the_accuracies_predict() -> None:
    """Within 5 %, over some thousand rounds of a greedy text that goes round and round; the same seed always gives the same figure."""
    from tests.models.decoding.toys import TableNet

    vocab = 12
    net = TableNet(torch.nn.functional.one_hot((torch.arange(vocab) + 1) % vocab, vocab).float())
    future = [token % vocab for token in range(2, 6010)]
    heads = Oracle(future, vocab, seed=4)
    shape = best_shape(ACCURACIES, 5)
    drafter = MedusaDrafter(heads, lambda z: z, shape, ACCURACIES)
    run = Generation(net, [0, 1], drafter, SamplingConfig(), FixedLength(5), max_new_tokens=6000, context=7000, top=1)
    committed, kept = [], [0] * len(shape)
    for done in run.rounds():
        heads.place += len(done.committed)
        if len(done.drafted) == len(shape):
            committed.append(len(done.committed))
            kept = [count + (node.fate == "accepted") for count, node in zip(kept, done.drafted)]
    mean = sum(committed) / len(committed)
    assert run.ids[:8] == [0, 1, 2, 3, 4, 5, 6, 7]
    assert mean == pytest.approx(1 + sum(kept) / len(committed)), "a round makes one token more than nodes are kept"
    assert mean == pytest.approx(expected_length(shape, ACCURACIES), rel=0.05)


def test_at_the_start_all_heads_are_the_targets_head() -> None:
    net = tiny_llama()
    h = torch.randn(6, 32, generator=torch.Generator().manual_seed(0))
    heads = MedusaHeads(MedusaConfig(dim=32, n_heads=3, vocab_size=40, rank=4))
    logits = heads(h, unembedding(net.unembed.weight, None))
    assert logits.shape == (3, 6, 40)
    for head in logits:
        assert torch.equal(head, net.head(h))
    kept = torch.tensor([3, 5, 8, 21], dtype=torch.int32)
    few = MedusaHeads(MedusaConfig(dim=32, n_heads=2, vocab_size=4, rank=0))(h, unembedding(net.unembed.weight, kept))
    torch.testing.assert_close(few, net.head(h)[:, kept.long()].expand(2, 6, 4))
