"""The panel as it is shown in README and looked at by its makers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from app.jobs.moe import TrainMoe
from app.jobs.routing import EXAMPLE

if TYPE_CHECKING:
    from app.panels.routing.panel import RoutingPanel

OTHER = "12 + 30 = 42\n7 * 8 = 56\n100 - 1 = 99\n5, 10, 15, 20, 25, 30\n81 / 9 = 9 remainder 0\n"
WAIT_S, LOOK_EVERY_S, TOKEN = 120.0, 0.2, 24
RACE_STEPS, RACE_DOCUMENTS = 40, 1000


def text(panel: RoutingPanel) -> Iterator[Any]:
    """A text with its experts, one token looked at, over the load map; without the model, how to make it."""
    yield from _until(lambda: panel.models.known)
    if panel.stage.missing:
        return
    panel.side_form.form.set_value("text", EXAMPLE)
    panel.commands.read()
    yield panel.runs.handle
    yield 0.3
    if panel.runs.reading is not None and len(panel.runs.reading) > TOKEN:
        panel.looking.set_row(min(2, len(panel.runs.reading.looked.layers) - 1))
        panel.runs.look(TOKEN)
    yield 0.3


def _page(name: str):
    def scene(panel: RoutingPanel) -> Iterator[Any]:
        panel.stage.pages.setCurrentWidget(getattr(panel.stage, name))
        yield 0.3

    return scene


def change(panel: RoutingPanel) -> Iterator[Any]:
    """Loads of what was written against those of the prompt."""
    panel.stage.pages.setCurrentWidget(panel.stage.load)
    panel.stage.load.set_phase("change")
    yield 0.3
    panel.stage.load.set_phase("all")


def work(panel: RoutingPanel) -> Iterator[Any]:
    """Shared and routed experts, and what checks of drafts read."""
    panel.stage.pages.setCurrentWidget(panel.stage.work)
    if not panel.stage.missing:
        panel.side_form.form.set_value("draft_length", 4)
        panel.commands.read()
        yield panel.runs.handle
        panel.side_form.form.set_value("draft_length", 0)
        panel.runs.look(TOKEN)
    yield 0.3


def training(panel: RoutingPanel) -> Iterator[Any]:
    """Some updates of one mixture under each kind of balancing, side by side."""
    panel.stage.pages.setCurrentWidget(panel.stage.training)
    panel.models.side_by_side(TrainMoe(steps=RACE_STEPS, documents=RACE_DOCUMENTS))
    yield from _until(lambda: not panel.trainings.active)
    panel.trainings.stop()
    yield 0.3


def specialists(panel: RoutingPanel) -> Iterator[Any]:
    """Who reads what, on held-out text."""
    panel.stage.pages.setCurrentWidget(panel.stage.specialists)
    if not panel.stage.missing:
        panel.commands.specialise(4000)
        yield from _until(lambda: panel.stage.specialists.measure.isEnabled())
    yield 0.3


def pair(panel: RoutingPanel) -> Iterator[Any]:
    """Two texts."""
    panel.stage.pages.setCurrentWidget(panel.stage.pair)
    panel.stage.pair.other.set_text(OTHER)
    if not panel.stage.missing:
        panel.commands.pair(OTHER)
        yield from _until(lambda: panel.stage.pair.compare.isEnabled())
    yield 0.3


def play(panel: RoutingPanel) -> Iterator[Any]:
    """Before and after an expert is switched off and the bias removed."""
    reading = panel.runs.reading
    if reading is not None:
        layer = reading.looked.layers[0]
        panel.side_form.gates.pairs.switch(layer, int(reading.passes[0].experts[0, 3, 0]), "off")
        panel.side_form.gates.bias.setChecked(not reading.looked.has_bias)
        panel.commands.before_and_after()
        yield from _until(lambda: not panel.timeline.busy())
    panel.stage.pages.setCurrentWidget(panel.stage.play)
    yield 0.5


def _until(there) -> Iterator[float]:
    for _step in range(round(WAIT_S / LOOK_EVERY_S)):
        yield LOOK_EVERY_S
        if there():
            return


SCENES = [
    ("", text), ("change", change), ("bias", _page("bias")), ("together", _page("together")), ("flow", _page("flow")), ("work", work),
    ("specialists", specialists), ("pair", pair), ("play", play), ("training", training),
]  # fmt: skip
