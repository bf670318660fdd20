"""The panel as it is shown in README and looked at by its makers: empty, in the middle of a training, its past, several side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from app.panels.rl.panel import RlPanel

WITHIN_S, LOOK_EVERY_S = 240.0, 0.1
STEPS, MIDDLE = 30_000, 0.6
SIDE_BY_SIDE, SWING, ROOMS = 15_000, 6_000, 60_000


def empty(panel: RlPanel) -> Iterator[Any]:
    """Before the first training."""
    yield from _until(lambda: panel.side_form.setup is not None)
    yield 0.3


def training(panel: RlPanel) -> Iterator[Any]:
    """In the middle of a run: agent, curves, map, lamps, a knob turned."""
    _choose(panel, "ppo", "CartPole-v1")
    yield from _until(lambda: _chosen(panel, "ppo", "CartPole-v1"))
    panel.side_form.total.set_value(STEPS)
    panel.commands.train()
    run = panel.trainings.shown
    yield from _until(lambda: run.steps > 0.3 * STEPS or not run.active)
    field = panel.side_form.rows.editor("clip_range")
    field.set_value(0.1)
    field.edited.emit(0.1)
    yield from _until(lambda: run.steps > MIDDLE * STEPS or not run.active)
    panel.commands.pause()
    yield from _until(lambda: run.state != "running")
    yield 0.5


def past(panel: RlPanel) -> Iterator[Any]:
    """Back along the curve: a policy of the past plays."""
    moments = panel.looking.moments()
    if len(moments):
        panel.looking.look(moments[len(moments) // 4])
        yield from _until(lambda: panel.looking.player.film is not None)
        yield 0.8
        panel.looking.player.pause()
    yield 0.3


def inside(panel: RlPanel) -> Iterator[Any]:
    """TRPO's update from within: line search, trust region, natural gradient."""
    panel.commands.stop()
    _choose(panel, "trpo", "CartPole-v1")
    yield from _until(lambda: _chosen(panel, "trpo", "CartPole-v1"))
    panel.side_form.total.set_value(SIDE_BY_SIDE)
    panel.stage.pages.setCurrentWidget(panel.stage.inside)
    panel.commands.train()
    run = panel.trainings.shown
    yield from _until(lambda: (run.steps > MIDDLE * SIDE_BY_SIDE and run.inside) or not run.active)
    panel.commands.pause()
    yield from _until(lambda: run.state != "running")
    yield 0.5


def q_surface(panel: RlPanel) -> Iterator[Any]:
    """DDPG: Q over angle and torque, the actor on it, and its noise."""
    yield from _given(panel, f"ddpg Pendulum-v1 seed=0 total={SWING} learning_starts=500", SWING)


def grid_world(panel: RlPanel) -> Iterator[Any]:
    """QAC in the four rooms: values, policy and agent."""
    panel.stage.pages.setCurrentWidget(panel.stage.small)
    yield from _given(panel, f"qac GridWorld-rooms seed=0 total={ROOMS}", ROOMS)


def side_by_side(panel: RlPanel) -> Iterator[Any]:
    """Seeds and algorithms, and the list of runs."""
    panel.commands.stop()
    for algo in ("ppo", "a2c"):
        _choose(panel, algo, "CartPole-v1")
        yield from _until(lambda algo=algo: _chosen(panel, algo, "CartPole-v1"))
        panel.side_form.seeds.setText("1-3")
        panel.side_form.total.set_value(SIDE_BY_SIDE)
        panel.commands.train()
    yield from _until(lambda: not panel.trainings.active)
    panel.stage.pages.setCurrentWidget(panel.stage.runs)
    yield 0.8


def compare(panel: RlPanel) -> Iterator[Any]:
    """An early policy beside the last one."""
    moments = panel.looking.moments()
    panel.stage.pages.setCurrentWidget(panel.stage.compare)
    if len(moments):
        panel.looking.look(moments[1])
        panel.stage.compare.button.click()
        yield from _until(lambda: panel.stage.compare.player.film is not None)
        panel.stage.compare.player.pause()
        panel.stage.compare.player.go(40)
    panel.looking.player.pause()
    yield 0.4


def _given(panel: RlPanel, line: str, total: int) -> Iterator[Any]:
    """Train what a line says, until it is past its middle."""
    panel.commands.stop()
    panel.side_form.setup = None
    panel.setups.take_text(line)
    yield from _until(lambda: _chosen(panel, *line.split()[:2]))
    yield 0.5
    panel.commands.train()
    run = panel.trainings.shown
    yield from _until(lambda: run.steps > MIDDLE * total or not run.active)
    panel.commands.pause()
    yield from _until(lambda: run.state != "running")
    yield 0.5


def _choose(panel: RlPanel, algo: str, env: str) -> None:
    panel.side_form.setup = None
    panel.side_form.set_pair(algo, env)
    panel.setups.ask()


def _chosen(panel: RlPanel, algo: str, env: str) -> bool:
    setup = panel.side_form.setup
    return setup is not None and (setup.algo, setup.env) == (algo, env)


def _until(there: Callable[[], Any]) -> Iterator[float]:
    """Wait for something, in steps; give up in the end."""
    for _step in range(round(WITHIN_S / LOOK_EVERY_S)):
        if there():
            return
        yield LOOK_EVERY_S


SCENES = [
    ("empty", empty), ("", training), ("past", past), ("inside", inside), ("ddpg", q_surface), ("grid", grid_world), ("runs", side_by_side),
    ("compare", compare),
]  # fmt: skip
