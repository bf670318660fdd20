"""A grid world whose values and policies can be drawn, and compared with the exact solution.

Moves may slip: with probability `slip` the agent goes to one of the two sides instead (Russell & Norvig's world). Pits and the goal end
the episode; each step costs a little. Observations are one-hot, so a linear network over them is a table.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from models.rl.envs import BatchedEnv, Discrete, EnvSpec
from models.rl.errors import RLError, check_range
from models.rl.mdp import MDP

MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))
"""(row, column) of the actions: up, right, down, left."""
ACTIONS = ("up", "right", "down", "left")
WORLDS = {
    "GridWorld-5x5": "S....\n.##..\n...X.\n.X...\n....G",
    "GridWorld-cliff": "............\n............\n............\nSXXXXXXXXXXG",
    "GridWorld-rooms": "S...#....\n....#....\n.........\n....#....\n##.###.##\n....#....\n....#.X..\n.........\n....#...G",
}
"""S start, G goal, X pit, # wall, . floor."""


@dataclass(frozen=True)
class Layout:
    """The map of a grid world, read from text; cells are numbered row by row."""

    text: str

    def __post_init__(self) -> None:
        rows = self.text.split("\n")
        if len({len(row) for row in rows}) != 1 or not set("".join(rows)) <= set("SGX#."):
            raise RLError("A grid world needs rows of equal length made of S, G, X, # and '.'.", "S start, G goal, X pit, # wall, . floor.")
        if self.text.count("S") != 1 or "G" not in self.text:
            raise RLError("A grid world needs exactly one start S and at least one goal G.", "Add them to the map.")
        check_range("The number of cells", len(rows) * len(rows[0]), 2, 1024)

    @cached_property
    def rows(self) -> tuple[str, ...]:
        return tuple(self.text.split("\n"))

    @property
    def height(self) -> int:
        return len(self.rows)

    @property
    def width(self) -> int:
        return len(self.rows[0])

    def cells(self, kind: str) -> list[int]:
        """Numbers of the cells that carry a letter."""
        return [i for i, letter in enumerate("".join(self.rows)) if letter == kind]

    def after(self, cell: int, move: int) -> int:
        """Where a move leads: a wall or the edge leaves the agent where it is."""
        row, column = divmod(cell, self.width)
        down, right = MOVES[move]
        r, c = row + down, column + right
        free = 0 <= r < self.height and 0 <= c < self.width and self.rows[r][c] != "#"
        return r * self.width + c if free else cell


class GridWorld(BatchedEnv):
    """N agents in copies of one grid world; see `WORLDS`.

    `mdp(gamma)` is the same world as tables, for exact values; its terminal cells lead nowhere (rows of P are zero there).
    """

    goal_reward, pit_reward, step_reward = 1.0, -1.0, -0.02

    def __init__(self, n: int = 1, world: str = "GridWorld-5x5", slip: float = 0.1, max_steps: int = 100) -> None:
        super().__init__(n)
        check_range("The slip probability", slip, 0.0, 1.0)
        check_range("The time limit", max_steps, 1, 1_000_000)
        if world not in WORLDS:
            raise RLError(f"There is no grid world named {world}.", f"Choose one of {', '.join(WORLDS)}.")
        self.layout, self.slip = Layout(WORLDS[world]), slip
        cells = self.layout.height * self.layout.width
        self.spec = EnvSpec(id=world, obs_dim=cells, actions=Discrete(4), max_steps=max_steps)
        self.next_cell = torch.tensor([[self.layout.after(cell, move) for move in range(4)] for cell in range(cells)])
        self.ends = torch.zeros(cells, dtype=torch.bool)
        self.ends[self.layout.cells("G") + self.layout.cells("X")] = True
        self.entering = torch.full((cells,), self.step_reward)
        self.entering[self.layout.cells("G")] = self.goal_reward
        self.entering[self.layout.cells("X")] = self.pit_reward
        self.start = self.layout.cells("S")[0]

    def begin(self, n: int) -> Tensor:
        return torch.full((n, 1), self.start, dtype=torch.float64)

    def dynamics(self, state: Tensor, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        draw = torch.rand(len(state), generator=self.rng)
        aside = (draw < self.slip).long() - 2 * (draw < self.slip / 2).long()  # -1 left of the move, 1 right of it, 0 straight
        cell = self.next_cell[state[:, 0].long(), (action + aside) % 4]
        return cell[:, None].double(), self.entering[cell], self.ends[cell]

    def observe(self, state: Tensor) -> Tensor:
        return torch.nn.functional.one_hot(state[:, 0].long(), self.spec.obs_dim).float()

    def facts(self, i: int = 0) -> dict[str, float]:
        row, column = divmod(int(self.state[i, 0]), self.layout.width)
        return {"row": row, "column": column}

    def mdp(self, gamma: float) -> MDP:
        """The world as tables, without the time limit."""
        cells = self.spec.obs_dim
        P, R = torch.zeros(cells, 4, cells, dtype=torch.float64), torch.zeros(cells, 4, dtype=torch.float64)
        for cell in range(cells):
            for action in range(4):
                for aside, chance in ((0, 1 - self.slip), (-1, self.slip / 2), (1, self.slip / 2)):
                    to = int(self.next_cell[cell, (action + aside) % 4])
                    P[cell, action, to] += 0.0 if self.ends[cell] else chance * (not self.ends[to])
                    R[cell, action] += 0.0 if self.ends[cell] else chance * float(self.entering[to])
        return MDP(P, R, torch.nn.functional.one_hot(torch.tensor(self.start), cells).double(), gamma)
