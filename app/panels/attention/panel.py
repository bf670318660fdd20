"""The attention panel: what to look at at the left, the text over its map and all heads in the middle, numbers and words at the right.

The panel itself only joins its parts: `Looker` (the run), `Selection` (heads and tokens), `Maps` (weights), `Viewing` (links the views),
`Edits` (heads changed), `Lens`, `Beside` (a second text or model), `Sharing` (files). `look_at` shows the exact tokens of a reply.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from PySide6.QtCore import QMimeData, Qt, Slot
from PySide6.QtGui import QKeyEvent, QKeySequence, QShortcut, QShowEvent
from PySide6.QtWidgets import QWidget

from app.jobs.attention import AttentionOverview
from app.panels.attention import scenes, state, words
from app.panels.attention.beside import Beside
from app.panels.attention.edits import Edits
from app.panels.attention.form import SideForm
from app.panels.attention.lens import Lens
from app.panels.attention.live import Live
from app.panels.attention.looker import Looker
from app.panels.attention.maps import Maps
from app.panels.attention.selection import Selection
from app.panels.attention.sharing import Sharing
from app.panels.attention.side_view import SideView
from app.panels.attention.stage import Stage
from app.panels.attention.timeline import Timeline
from app.panels.attention.viewing import Viewing
from app.panels.base import Panel, Scene
from app.panels.errands import Errands
from app.protocol.attention import Looked, OverviewMaps
from app.protocol.errors import UserError
from app.widgets import head_grid, token_chips


class AttentionPanel(Panel):
    """See what every head of every layer looks at."""

    panel_id = "attention"
    title = "Attention"

    def __init__(self, engine: Any, settings: Any, parent: QWidget | None = None) -> None:
        super().__init__(engine, settings, parent)
        self.looked: Looked | None = None
        """What is on show; None before the first look."""
        self.errands, self.looker, self.selection = Errands(engine, self.panel_id, self), Looker(engine, self), Selection(self)
        self.maps = Maps(self.looker, self.selection, self.errands, self)
        self.form, self.stage, self.timeline, self.side = SideForm(), Stage(), Timeline(), SideView()
        self.viewing, self.edits, self.lens, self.sharing = Viewing(self), Edits(self), Lens(self), Sharing(self)
        self.beside, self.live = Beside(self), Live(self)
        self.arrange(self.form, self.stage, self.timeline, self.side, widths=(248, 244))
        self.remember_splitter("text", self.stage.rows)
        self.remember_splitter("heads", self.stage.columns)
        self._connect()

    def _connect(self) -> None:
        for signal, slot in (
            (self.form.look_wanted, self.look), (self.stage.example_wanted, self.look), (self.form.changed, self.touch),
            (self.looker.looked, self._on_looked), (self.looker.overview, self._on_overview), (self.looker.busy, self._on_busy),
            (self.looker.failed, self._on_failed), (self.looker.state_changed, self._on_state), (self.errands.failed, self.show_error),
            (self.timeline.step_chosen, self._on_step), (self.timeline.stop_wanted, self.looker.stop),
            (self.edits.changed, self._on_edits), (self.side.change.factor_changed, self.edits.set_factor),
            (self.side.change.run_wanted, self.edits.run), (self.side.change.clear_wanted, self.edits.clear),
            (self.side.token.pressed, self._on_token), (self.side.currentChanged, self.touch), (self.stage.heads.changed, self.touch),
        ):  # fmt: skip
            signal.connect(slot)
        for keys, slot in (
            ("Ctrl+Return", self.look), ("Ctrl+Enter", self.look), ("Ctrl+D", self._on_turn_key), ("Ctrl+L", self.stage.options.log.toggle),
            ("Esc", self._on_escape),
        ):  # fmt: skip
            shortcut = QShortcut(QKeySequence(keys), self, activated=slot)
            shortcut.setContext(shortcut.context().WidgetWithChildrenShortcut)

    # looking -------------------------------------------------------------------------------------------------------

    @Slot()
    def look(self) -> None:
        """Look at what is set."""
        try:
            job = self.form.job()
        except UserError as error:
            self.show_error(error)
            return
        self.live.stop()
        self._look(job)

    def _look(self, job: AttentionOverview) -> None:
        self.banner.clear()
        self.looker.look(job)
        self.beside.look(self.form.beside.job(job))

    def look_at(self, model: str, ids: Sequence[int], text: str = "", *, growing: bool = False) -> None:
        """Look at exactly these tokens, as a chat had them; `text` is shown for them, and with `growing` more will follow."""
        try:
            now = self.form.job()
            job = replace(now, source="text", model=model, ids=tuple(int(number) for number in ids), text=text or now.text)
        except UserError as error:
            self.show_error(error)
            return
        self.form.set_job(job)
        self.live.begin(replace(job, growing=growing))
        self._look(replace(job, growing=growing, up_to=self.selection.layer if growing else 0))

    def take(self, what: object) -> None:
        """A reply of the chat, or a small model of the lab."""
        if isinstance(what, AttentionOverview) and what.source == "small":
            self.form.set_job(what)
            self.look()
        elif isinstance(what, AttentionOverview):
            self.look_at(what.model, what.ids, what.text, growing=what.growing)

    def follow(self, what: object) -> None:
        """More of a reply that is being written."""
        if isinstance(what, AttentionOverview):
            self.live.grow(what)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.live.catch_up()

    @Slot(object)
    def _on_looked(self, looked: Looked) -> None:
        """The sides of the maps are known. A further step of the same run leaves all else as it is."""
        again = self.looked is not None and replace(self.looked, picture=looked.picture, sentence=looked.sentence) == looked
        grown = self.live.grown(self.looked, looked)
        self.looked = looked
        self.maps.forget(keep_shown=again or grown)
        if grown:
            self.viewing.grow(looked)
        elif again:
            self.viewing.show_picture(looked)
        else:
            self.viewing.begin(looked)
            self.edits.begin(looked)
        self.timeline.set_steps(looked.steps, self.form.job().step)
        if self.live.going:
            self.timeline.set_note(self.live.words(looked))
        self.maps.ask()
        self.lens.update()
        self.touch()

    @Slot(object)
    def _on_overview(self, overview: OverviewMaps) -> None:
        self.viewing.show_overview(overview)
        if self.looked is not None:
            heads, layers = sum(self.looked.heads), len(self.looked.layers)
            what = f"{heads:,} {'head' if heads == 1 else 'heads'} of {layers} {'layer' if layers == 1 else 'layers'}"
            self.timeline.set_note(f"{what} in {overview.seconds:.{0 if overview.seconds >= 10 else 1}f} s")

    @Slot(bool)
    def _on_state(self, active: bool) -> None:
        self.form.look.setText("Looking …" if active and not self.live.going else "Look")

    @Slot(object)
    def _on_failed(self, report: Any) -> None:
        self.live.stop()
        self.show_error(report)

    @Slot(str)
    def _on_busy(self, words: str) -> None:
        if not self.live.going:
            self.timeline.set_busy(words)

    @Slot(int)
    def _on_step(self, step: int) -> None:
        """Another denoising step of the run on show."""
        if self.looker.job is not None:
            self.form.set_step(step)
            self.looker.look(replace(self.looker.job, step=step))
            if self.beside.on and self.beside.looker.job is not None:
                self.beside.look(replace(self.beside.looker.job, step=step))
            self.touch()

    # views ---------------------------------------------------------------------------------------------------------

    @Slot()
    def _on_edits(self) -> None:
        self.side.change.set_factors(self.edits.factors, self.edits.able)

    @Slot(object)
    def _on_token(self, token: int) -> None:
        """A token of the list of largest weights: pin it."""
        if self.selection.focus is not None:
            self.selection.pin(self.selection.focus.axis, token)

    @Slot()
    def _on_turn_key(self) -> None:
        box = self.stage.direction
        if box.isEnabled():
            box.setCurrentIndex(1 - box.currentIndex())
            box.activated.emit(box.currentIndex())

    @Slot()
    def _on_escape(self) -> None:
        if self.looker.active:
            self.looker.stop()
        else:
            self.selection.release()
            self.beside.selection.release()

    def tell_progress(self, progress: Any) -> None:
        """What a short job is doing; None: it is over."""
        self.timeline.set_busy(progress.note if progress is not None else "")

    # hooks of the window -------------------------------------------------------------------------------------------

    def ready(self) -> None:
        self.sharing.list_models()

    def save_state(self) -> dict:
        return state.saved(self)

    def restore_state(self, saved: dict) -> None:
        state.restore(self, saved)

    def accept_drop(self, mime: QMimeData) -> bool:
        paths = [url.toLocalFile() for url in mime.urls() if url.isLocalFile()]
        if paths and self.form.job().source in ("clip-picture", "clip-words"):
            self.sharing.open_picture(paths[0])
            return True
        return False

    def screenshot_scenes(self) -> list[Scene]:
        return scenes.SCENES

    def key_help(self) -> list[tuple[str, str]]:
        return [*words.KEY_HELP, *head_grid.KEY_HELP, *token_chips.KEY_HELP]

    def about_to_close(self) -> None:
        self.touch()
        self.looker.stop()
        self.maps.close()
        self.beside.close()
        self.timeline.close_down()
        super().about_to_close()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Keys that no child wanted: the transport, where there are steps; else the arrows go from head to head."""
        if event.key() and self.looked and self.looked.steps and self.timeline.transport.handle_key(event):
            return
        if self.looked is not None and Qt.Key(event.key()) in head_grid.STEPS and not self.stage.heads.grid.hasFocus():
            self.stage.heads.grid.keyPressEvent(event)
        else:
            super().keyPressEvent(event)
