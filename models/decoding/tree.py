"""Trees of proposed tokens: the attention mask, the positions, and which shape to propose.

All nodes are verified in one pass (arXiv 2401.10774, section 2.1.2; SpecInfer, arXiv 2305.09781): a node attends to the text, its ancestors
and itself, and stands at position length + depth, wherever it lies in the flattened order. A tree is a tuple of parents, parents before
children; -1 is the pending token, row 0 of the pass; node i is row i + 1.
A *shape* is a list of paths, a path the choice taken at each depth: (0,) is the first head's best token, (0, 2) the second head's third
best behind it; this is how Medusa's releases write trees. Read next: `models/decoding/medusa.py`.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import torch
from torch import Tensor

Path = tuple[int, ...]


def depths(parents: Sequence[int]) -> list[int]:
    """Depth of every node; children of the pending token have depth 1."""
    found: list[int] = []
    for parent in parents:
        found.append(1 if parent < 0 else found[parent] + 1)
    return found


def ancestor_mask(parents: Sequence[int]) -> Tensor:
    """(n + 1, n + 1) bool: row r may attend to row c; row 0 is the pending token."""
    rows = [1]  # bit c of rows[r]: r may attend to c
    for node, parent in enumerate(parents):
        rows.append(rows[parent + 1] | 1 << (node + 1))
    size = len(rows)
    return torch.tensor([[bits >> column & 1 for column in range(size)] for bits in rows], dtype=torch.bool)


def tree_mask(parents: Sequence[int], length: int) -> Tensor:
    """(n + 1, length + n + 1) bool: all of the `length` cached tokens, and of this pass only ancestors and the row itself."""
    inside = ancestor_mask(parents)                                         # (n + 1, n + 1)
    return torch.cat([inside.new_ones(len(inside), length), inside], dim=1)


def tree_positions(parents: Sequence[int], length: int) -> Tensor:
    """(n + 1,) the places in the text at which the rows stand."""
    return torch.tensor([length, *(length + depth for depth in depths(parents))])


def path_to(parents: Sequence[int], node: int) -> list[int]:
    """The nodes from the first one down to `node`."""
    path: list[int] = []
    while node >= 0:
        path.append(node)
        node = parents[node]
    return path[::-1]


def best_shape(accuracies: Sequence[Sequence[float]], nodes: int) -> list[Path]:
    """The shape of `nodes` paths that keeps most tokens, if choice j at depth k is right with probability `accuracies[k][j]`.

    Greedy: add the path with the largest product of accuracies (section 2.3.3 of the paper); since a child's product is never larger than
    its parent's, a queue of children and next siblings finds them in order, every parent before its children.
    """
    shape: list[Path] = []
    queue = [(-accuracies[0][0], (0,))]
    while queue and len(shape) < nodes:
        product, path = heapq.heappop(queue)
        shape.append(path)
        depth, choice = len(path), path[-1]
        if choice + 1 < len(accuracies[depth - 1]):
            sibling = product / max(accuracies[depth - 1][choice], 1e-12) * accuracies[depth - 1][choice + 1]
            heapq.heappush(queue, (sibling, (*path[:-1], choice + 1)))
        if depth < len(accuracies):
            heapq.heappush(queue, (product * accuracies[depth][0], (*path, 0)))
    return shape


def expected_length(shape: Sequence[Path], accuracies: Sequence[Sequence[float]]) -> float:
    """Tokens a round, the target's own included: 1 + the sum over nodes of the chance that their whole path is right.

    Siblings exclude each other, so the chances of a depth add up.
    """
    total = 1.0
    for path in shape:
        chance = 1.0
        for depth, choice in enumerate(path):
            chance *= accuracies[depth][choice]
        total += chance
    return total


def shape_parents(shape: Sequence[Path]) -> list[int]:
    """The tree of a shape: for every path the index of the path it extends."""
    index = {path: node for node, path in enumerate(shape)}
    index[()] = -1
    return [index[path[:-1]] for path in shape]
