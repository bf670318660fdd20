"""The panel as it is shown in README and looked at by its makers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from app.jobs.attention import AttentionOverview
from app.panels.attention.form import PLAYWORLD
from app.panels.attention.selection import Focus

if TYPE_CHECKING:
    from app.panels.attention.panel import AttentionPanel

SCENE, SCENE_WORD = 10, "house"
SCENE_TEXT = "in cloudy weather, a green kite, an orange hot air balloon on the left, a yellow house, on the grass."
WITHIN_S, LOOK_EVERY_S = 60.0, 0.2


def empty(_panel: AttentionPanel) -> Iterator[Any]:
    """Before the first look."""
    yield 0.3


def head(panel: AttentionPanel) -> Iterator[Any]:
    """The head that most follows repetitions, one token pinned, its logit lens."""
    yield from _looked(panel, AttentionOverview())
    induction = panel.stage.heads.values("induction")
    if induction is not None:
        layer, best = divmod(int(induction.argmax()), induction.shape[1])
        panel.selection.select(layer, (best,))
    panel.stage.heads.grid.setFocus()
    yield from _mapped(panel)
    panel.selection.pin("rows", 16)
    yield 0.5


def lines(panel: AttentionPanel) -> Iterator[Any]:
    """Lines between tokens, and the logit lens of the pinned one."""
    panel.stage.options.set_view("arcs")
    panel.side.setCurrentIndex(1)
    yield 2.0


def scores(panel: AttentionPanel) -> Iterator[Any]:
    """Heads sorted by a score, a rollout beside them."""
    panel.stage.options.set_view("rollout")
    panel.side.setCurrentIndex(0)
    panel.stage.heads.set_choices({"score": "induction", "sort": True})
    panel.selection.release()
    yield from _mapped(panel)


def edit(panel: AttentionPanel) -> Iterator[Any]:
    """Before and after heads were removed."""
    panel.stage.heads.set_choices({"score": "sink", "sort": False})
    for each in range(3):
        panel.edits.set_factor((0, each), 0.0)
    panel.side.setCurrentIndex(2)
    panel.edits.run()
    for _step in range(round(WITHIN_S / LOOK_EVERY_S)):
        if panel.stage.edit.report is not None:
            break
        yield LOOK_EVERY_S


def beside(panel: AttentionPanel) -> Iterator[Any]:
    """Two texts that differ in a word, in the same head."""
    panel.edits.clear()
    panel.side.setCurrentIndex(0)
    panel.stage.heads.set_choices({"score": "", "sort": False})
    panel.form.beside.set_choices({"wanted": True, "text": "She opened the door with her key.", "model": "smollm2"})
    yield from _looked(panel, AttentionOverview(text="He opened the door with his key."))
    panel.stage.options.set_view("map")
    while panel.beside.looker.active:
        yield LOOK_EVERY_S
    yield from _mapped(panel)
    yield 1.0
    panel.selection.pin("rows", 5)
    panel.beside.selection.pin("rows", 5)
    yield 0.3


def patches(panel: AttentionPanel) -> Iterator[Any]:
    """CLIP: patches onto patches, over the picture."""
    panel.form.beside.wanted.setChecked(False)
    yield from _looked(panel, AttentionOverview(source="clip-picture", text=PLAYWORLD))
    panel.stage.options.set_view("picture")
    yield from _mapped(panel)
    panel.selection.pin("rows", 20)
    yield 0.5


def clip(panel: AttentionPanel) -> Iterator[Any]:
    """CLIP between its towers: where in the picture a word is at home."""
    yield from _looked(panel, AttentionOverview(source="clip-words", text=SCENE_TEXT, seed=SCENE))
    yield from _mapped(panel)
    if panel.looked is not None:
        panel.selection.pin("rows", panel.looked.rows.texts.index(SCENE_WORD))
    yield 0.5


def words(panel: AttentionPanel) -> Iterator[Any]:
    """A diffusion UNet: where a prompt word acts in the picture, all layers and steps together."""
    yield from _looked(panel, AttentionOverview(source="unet-words", text=PLAYWORLD))
    if panel.looked is not None and panel.looked.grids:
        finest = max(range(len(panel.looked.layers)), key=lambda layer: (panel.looked.grids[layer], layer))
        panel.selection.select(finest, (0,))
    panel.stage.options.set_view("sum")
    panel.stage.options.every_step.setChecked(True)
    yield from _mapped(panel)
    panel.selection.pin("columns", 7)  # "house"
    yield 0.5


def layer(panel: AttentionPanel) -> Iterator[Any]:
    """One layer and one step of the same run."""
    panel.stage.options.set_view("picture")
    panel.selection.select(panel.selection.layer, range(panel.looked.heads[panel.selection.layer]) if panel.looked else (0,))
    yield from _mapped(panel)
    panel.selection.show(Focus("columns", (7,)))
    yield 0.5


def _looked(panel: AttentionPanel, job: AttentionOverview) -> Iterator[Any]:
    panel.form.set_job(job)
    panel.look()
    if panel.looker.handle is not None:
        yield panel.looker.handle
    yield 0.3


def _mapped(panel: AttentionPanel) -> Iterator[Any]:
    """Until the map of the heads on show is there."""
    yield LOOK_EVERY_S
    for _step in range(round(WITHIN_S / LOOK_EVERY_S)):
        if panel.maps.whole is not None and not panel.maps.waiting:
            return
        yield LOOK_EVERY_S


SCENES = [
    ("empty", empty), ("", head), ("lines", lines), ("scores", scores), ("edit", edit), ("beside", beside), ("patches", patches),
    ("clip", clip), ("words", words), ("layer", layer),
]  # fmt: skip
